"""`evaluate --change` and `--scot` on files as they come: formats, CRS, folders, tables."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.affinity import translate
from shapely.geometry import Polygon, box

from buildmap.data.comparisons import Comparison, find_comparisons, read_comparisons
from buildmap.errors import InputError, MissingInput, OutputError
from buildmap.evaluate_change import Series, Table, evaluate_change, evaluate_tracks, find_series, series
from buildmap.metrics.change import STATUSES
from buildmap.metrics.change_summary import ChangeSummary
from tests.scenes import UTM, write_layer

X, Y = 400_000, 5_000_000
Row = tuple[int, str]
"""Number of a place, and a status or an id."""


def house(place: int, shift: float = 0.0) -> Polygon:
    return translate(box(X, Y, X + 10, Y + 10), 30 * (place % 20) + shift, 30 * (place // 20))


def write(
    path: Path,
    rows: Sequence[Row],
    *,
    column: str = "status",
    shift: float = 0,
    to: str = UTM,
    **columns: object,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = gpd.GeoDataFrame(
        {column: np.array([said for _, said in rows], object), **columns},
        geometry=[house(place, shift) for place, _ in rows],
        crs=UTM,
    )
    frame.to_crs(to).to_file(path, **({} if rows else {"geometry_type": "Polygon"}))
    return path


def town(rng: np.random.Generator, count: int = 200) -> list[Row]:
    return list(enumerate(rng.choice(STATUSES, count, p=[0.1, 0.1, 0.1, 0.7]).tolist()))


def change(prediction: Path, truth: Path, **options: object) -> ChangeSummary:
    return evaluate_change(find_comparisons(prediction, truth), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "crs"), [("p.geojson", "EPSG:4326"), ("p.fgb", UTM), ("p.shp", "EPSG:3857"), ("p.gpkg", UTM)]
)
def test_known_mistakes_are_counted_in_any_format_and_crs(tmp_path: Path, name: str, crs: str) -> None:
    rng = np.random.default_rng(3)
    truth = town(rng)
    predicted = [(place, "removed" if place % 10 == 0 else said) for place, said in truth if place % 7]
    predicted += [(place, "added") for place in range(300, 312)]
    summary = change(write(tmp_path / name, predicted, shift=0.7, to=crs), write(tmp_path / "t.gpkg", truth))
    said, true = dict(predicted), dict(truth)
    for status, found in summary.total.statuses.items():
        right = sum(said.get(place) == status for place, one in truth if one == status)
        assert (found.tp, found.true) == (right, list(true.values()).count(status))
        assert found.predicted == list(said.values()).count(status)
    assert summary.total.confusion["unmatched"]["added"] == 12
    assert summary.total.kinds is None
    assert summary.pairs[0].crs == UTM


def test_kinds_are_scored_where_both_layers_have_them(tmp_path: Path) -> None:
    rows = [(0, "changed"), (1, "changed"), (2, "added")]
    truth = write(tmp_path / "t.gpkg", rows, kind=np.array(["split", "merged", None], object))
    other = write(tmp_path / "p.gpkg", rows, kind=np.array(["split", "split", None], object))
    kinds = change(other, truth).total.kinds
    assert kinds is not None
    assert (kinds["split"].tp, kinds["split"].fp, kinds["merged"].fn) == (1, 1, 1)
    assert change(write(tmp_path / "plain.gpkg", rows), truth).total.kinds is None


def test_only_rows_inside_the_area_and_the_box_count(tmp_path: Path) -> None:
    rows = [(place, "added") for place in range(8)]
    truth, prediction = write(tmp_path / "t.gpkg", rows), write(tmp_path / "p.gpkg", rows[2:])
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(X, Y, X + 105, Y + 20)])
    inside = change(prediction, truth, ground=(aoi, None)).total.statuses["added"]
    assert (inside.tp, inside.fn) == (2, 2)
    both = change(prediction, truth, ground=(aoi, (X + 25, Y, X + 500, Y + 20))).total.statuses["added"]
    assert (both.tp, both.fn) == (2, 1)
    with pytest.raises(InputError, match=r"t.gpkg has no buildings in .*aoi.gpkg within --bbox") as caught:
        change(prediction, truth, ground=(aoi, (0, 0, 1, 1)))
    assert caught.value.hint == "--bbox is in the CRS of the truth"


def test_folders_and_tables_are_scored_one_by_one_and_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        rows = town(rng)
        write(tmp_path / "t" / f"{name}.gpkg", rows)
        write(tmp_path / "p" / f"{name}.geojson", rows[10 if name == "a" else 90 :], to="EPSG:4326")
    summary = change(tmp_path / "p", tmp_path / "t")
    assert [Path(pair.prediction).name for pair in summary.pairs] == ["a.geojson", "b.geojson"]
    for status, found in summary.total.statuses.items():
        parts = [pair.scores.statuses[status] for pair in summary.pairs]
        assert (found.tp, found.fn) == (sum(one.tp for one in parts), sum(one.fn for one in parts))
    assert summary.pairs[0].scores.change.recall > summary.total.change.recall
    table = tmp_path / "pairs.csv"
    table.write_text("prediction,truth\np/a.geojson,t/a.gpkg\np/b.geojson,t/b.gpkg\n")
    assert evaluate_change(read_comparisons(table)).total == summary.total


def test_the_rule_for_nothing_and_the_lowest_overlap_are_passed_on(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.gpkg", [(0, "added")])
    prediction = write(tmp_path / "p.gpkg", [(0, "added")], shift=4)  # IoU 0.43
    summary = change(prediction, truth, empty="skip", iou_min=0.4)
    assert np.isnan(summary.total.statuses["removed"].f1)
    assert (summary.empty_rule, summary.iou_min, summary.total.statuses["added"].tp) == ("skip", 0.4, 1)
    assert change(prediction, truth).total.statuses["added"].tp == 0


def test_layers_that_say_nothing_of_change_are_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.gpkg", [(0, "added")])
    with pytest.raises(InputError, match=r"plain.gpkg has no column 'status'"):
        change(write_layer(tmp_path / "plain.gpkg", [house(0)]), truth)
    with pytest.raises(InputError, match=r"p.gpkg: no row has a status .* holds new \(1\)"):
        change(write(tmp_path / "p.gpkg", [(0, "new")]), truth)
    with pytest.raises(InputError, match=r"e.gpkg has no buildings: nothing could be told"):
        change(truth, write(tmp_path / "e.gpkg", []))
    nothing = change(write(tmp_path / "n.gpkg", []), truth, empty="one")
    assert (nothing.total.change.fn, nothing.total.change.recall) == (1, 0)
    with pytest.raises(ValueError, match="nothing to compare"):
        evaluate_change([])


def test_the_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    truth = write(tmp_path / "t.gpkg", [(0, "added")])
    table = Table(path=tmp_path / "out.csv", overwrite=False)
    summary = change(truth, truth, table=table)
    lines = list(csv.DictReader(table.path.read_text().splitlines()))
    assert len(lines) == 10
    assert float(lines[0]["f1"]) == summary.total.statuses["added"].f1
    with pytest.raises(OutputError, match="exists already"):
        change(truth, truth, table=table)
    old = table.path.read_bytes()
    with pytest.raises(InputError):
        change(write_layer(tmp_path / "plain.gpkg", [house(0)]), truth, table=replace(table, overwrite=True))
    assert table.path.read_bytes() == old
    aoi = write_layer(tmp_path / "aoi.gpkg", [house(0)])
    for source in (truth, aoi):
        with pytest.raises(OutputError, match="is the input"):
            change(truth, truth, ground=(aoi, None), table=Table(path=source, overwrite=True))


def write_series(folder: Path, dates: dict[str, list[Row]], **options: object) -> Path:
    for name, rows in dates.items():
        write(folder / f"{name}.gpkg", rows, column="building_id", **options)  # type: ignore[arg-type]
    return folder


GROWING = {
    "2024-9": [(0, "a"), (1, "b")],
    "2024-10": [(0, "a"), (1, "b"), (2, "c")],
    "2024-11": [(0, "a"), (2, "c"), (3, "d")],
}


def test_a_series_is_scored_in_the_order_of_its_dates(tmp_path: Path) -> None:
    truth = write_series(tmp_path / "t", GROWING)
    other = {name: [(place, said * 2) for place, said in rows] for name, rows in GROWING.items()}
    prediction = write_series(tmp_path / "p", other, shift=2, to="EPSG:4326")
    summary = evaluate_tracks(find_series(prediction, truth))
    (area,) = summary.areas
    assert [date.name for date in area.dates] == list(GROWING)
    assert (area.name, area.scot.buildings.tp, area.scot.change.tp) == ("t", 8, 2)
    assert (summary.score, summary.beta, summary.iou_min) == (1, 2, 0.25)


def test_ids_of_other_columns_and_types_are_read(tmp_path: Path) -> None:
    numbers = {name: [(place, str(place)) for place, _ in rows] for name, rows in GROWING.items()}
    truth, prediction = write_series(tmp_path / "t", GROWING), tmp_path / "p"
    for name, rows in numbers.items():
        ids = np.array([place for place, _ in rows], np.float64 if name == "2024-10" else np.int64)
        write(prediction / f"{name}.gpkg", rows, column="text", Id=ids)
    found = find_series(prediction, truth)
    assert evaluate_tracks(found, id_columns=("Id", "building_id")).score == 1
    with pytest.raises(InputError, match="has no column 'building_id'"):
        evaluate_tracks(found)


def test_rows_that_change_marks_as_removed_are_no_buildings(tmp_path: Path) -> None:
    for name, statuses in (("1", ["added", "added"]), ("2", ["unchanged", "removed"])):
        rows = [(0, "a"), (1, "b")]
        write(tmp_path / "p" / f"{name}.gpkg", rows, column="building_id", status=np.array(statuses, object))
        write(tmp_path / "t" / f"{name}.gpkg", rows[: 3 - int(name)], column="building_id")
    scot = evaluate_tracks(find_series(tmp_path / "p", tmp_path / "t")).areas[0].scot
    assert (scot.buildings.tp, scot.buildings.fp, scot.score) == (3, 0, 1)


def test_subfolders_are_areas_and_their_mean_is_the_score(tmp_path: Path) -> None:
    for area in ("ulm", "bonn"):
        truth = write_series(tmp_path / "t" / area, GROWING)
        seen = GROWING if area == "ulm" else {name: rows[:1] for name, rows in GROWING.items()}
        write_series(tmp_path / "p" / area, seen)
    summary = evaluate_tracks(find_series(tmp_path / "p", tmp_path / "t"))
    assert [area.name for area in summary.areas] == ["bonn", "ulm"]
    assert [area.scot.score for area in summary.areas] == [0, 1]
    assert summary.score == 0.5
    single = evaluate_tracks(find_series(tmp_path / "p" / "ulm", truth.parent / "ulm"))
    assert single.areas[0].scot == summary.areas[1].scot
    (tmp_path / "p" / "bonn").rename(tmp_path / "p" / "koeln")
    with pytest.raises(MissingInput, match="bonn"):
        find_series(tmp_path / "p", tmp_path / "t")


def test_a_date_without_buildings_counts(tmp_path: Path) -> None:
    truth = write_series(tmp_path / "t", {"1": [(0, "a")], "2": [], "3": [(0, "a")]})
    prediction = write_series(tmp_path / "p", {"1": [(0, "a")], "2": [(5, "x")], "3": [(0, "a")]})
    scot = evaluate_tracks(find_series(prediction, truth)).areas[0].scot
    assert (scot.buildings.fp, scot.change.fp) == (1, 1)


def test_a_date_that_one_side_lacks_is_named(tmp_path: Path) -> None:
    truth = write_series(tmp_path / "t", GROWING)
    prediction = write_series(tmp_path / "p", {name: GROWING[name] for name in list(GROWING)[:2]})
    with pytest.raises(MissingInput, match="2024-11 is only in"):
        find_series(prediction, truth)


def test_one_date_is_no_series(tmp_path: Path) -> None:
    one = write_series(tmp_path / "t", {"2024": [(0, "a")]})
    with pytest.raises(InputError, match=r"t holds one date only, 2024.gpkg"):
        evaluate_tracks(find_series(one, one))
    with pytest.raises(InputError, match=r"2024.gpkg is a file, not a folder"):
        find_series(one, one / "2024.gpkg")
    with pytest.raises(ValueError, match="nothing to compare"):
        evaluate_tracks([])


def test_numbers_in_names_go_by_their_value() -> None:
    names = ["b2", "2024-10", "2024-9", "a", "2023-11", "10"]
    dates = [Comparison(prediction=Path(name), truth=Path(f"{name}.gpkg")) for name in names]
    found = series(dates, name="x")
    assert isinstance(found, Series)
    assert [str(date.prediction) for date in found.dates] == ["10", "2023-11", "2024-9", "2024-10", "a", "b2"]


def test_the_table_of_a_series_has_its_dates(tmp_path: Path) -> None:
    truth = write_series(tmp_path / "t", GROWING)
    table = Table(path=tmp_path / "out.csv", overwrite=False)
    evaluate_tracks(find_series(truth, truth), table=table)
    lines = list(csv.DictReader(table.path.read_text().splitlines()))
    assert [line["date"] for line in lines] == [*GROWING, "", ""]
    assert [line["tp"] for line in lines] == ["2", "3", "3", "8", ""]
    assert lines[-1]["scot"] == "1.0"
