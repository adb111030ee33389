"""`buildmap change`: layers of two dates in, what was built and what is gone out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from typer.testing import CliRunner

from buildmap.change import change
from buildmap.changes import streaming
from buildmap.changes.options import Comparing, Date, Delivery
from buildmap.cli.app import app
from buildmap.errors import InputError, OutputError
from tests.scenes import UTM, write_layer, write_raster

EAST, NORTH = 400_000.0, 5_000_000.0


def houses(seed: int, count: int = 12) -> list[shapely.Polygon]:
    """Build a town on a lattice of 25 m, no house touching another."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2) * 25.0
    corner = place + rng.uniform(0, 6, place.shape) + (EAST, NORTH)
    size = rng.uniform(7, 12, place.shape)
    return [shapely.box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corner, size, strict=True)]


def moved(shapes: list[shapely.Polygon], dx: float, dy: float) -> list[shapely.Polygon]:
    return [shapely.transform(shape, lambda corners: corners + np.array([dx, dy])) for shape in shapes]


@pytest.fixture
def town(tmp_path: Path) -> tuple[Path, Path]:
    """One house gone, one built, one enlarged, one split; all 2.5 m off."""
    before = houses(0)
    after = [*before[:20], *before[21:]]
    left, bottom, right, top = after[3].bounds
    after[3] = shapely.box(left, bottom, right + 5, top)
    left, bottom, right, top = after[7].bounds
    after[7] = shapely.box(left, bottom, (left + right) / 2, top)
    after.append(shapely.box((left + right) / 2, bottom, right, top))
    after.append(shapely.box(EAST - 40, NORTH - 40, EAST - 30, NORTH - 30))
    return write_layer(tmp_path / "before.gpkg", before), write_layer(
        tmp_path / "after.gpkg", moved(after, 2, 1.5)
    )


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["change", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def rows(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(path)


def counts(path: Path) -> dict[str, int]:
    return rows(path).status.value_counts().to_dict()


FOUND = {"unchanged": 141, "changed": 3, "added": 1, "removed": 1}


def test_every_building_is_told_of_in_the_place_of_the_first_date(
    town: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = run(*town, tmp_path / "out.gpkg", "--json", "-q")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert {status: count for status, count in summary["statuses"].items() if count} == FOUND
    assert summary["kinds"] == {"enlarged": 1, "split": 2}
    assert (summary["before"], summary["after"]) == (144, 145)
    assert summary["shift"]["dx_m"] == pytest.approx(2, abs=0.01)
    assert summary["shift"]["dy_m"] == pytest.approx(1.5, abs=0.01)
    found = rows(tmp_path / "out.gpkg")
    assert found.crs == UTM and found.building_id.is_unique
    before = gpd.read_file(town[0])
    same = found[found.status == "unchanged"]
    assert all(a.equals(b) for a, b in zip(same.geometry, before.geometry.iloc[same.row_before], strict=True))
    built = found[found.status == "added"].geometry.iloc[0]
    assert built.symmetric_difference(shapely.box(EAST - 40, NORTH - 40, EAST - 30, NORTH - 30)).area < 0.2
    assert same.iou.min() > 0.999


def test_the_exit_code_tells_whether_anything_changed(town: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = town
    assert run(before, after, tmp_path / "a.gpkg", "--exit-code", "-q")[0] == 10
    assert run(before, before, tmp_path / "b.gpkg", "--exit-code", "-q")[0] == 0


def test_an_output_is_the_next_before_and_ids_live_on(town: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = town
    run(before, after, tmp_path / "1.gpkg", "-q")
    code, out, _ = run(tmp_path / "1.gpkg", after, tmp_path / "2.gpkg", "--json", "-q")
    assert code == 0
    assert {s: n for s, n in json.loads(out)["statuses"].items() if n} == {"unchanged": 145}
    first, second = rows(tmp_path / "1.gpkg"), rows(tmp_path / "2.gpkg")
    assert {*second.building_id} == {*first[first.status != "removed"].building_id}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32634"])
def test_the_layers_may_be_in_any_crs(town: tuple[Path, Path], tmp_path: Path, crs: str) -> None:
    gpd.read_file(town[1]).to_crs(crs).to_file(tmp_path / "moved.gpkg")
    run(town[0], tmp_path / "moved.gpkg", tmp_path / "out.gpkg", "-q")
    assert counts(tmp_path / "out.gpkg") == FOUND
    assert rows(tmp_path / "out.gpkg").crs == UTM


def test_in_degrees_both_are_compared_in_utm_and_written_in_degrees(
    town: tuple[Path, Path], tmp_path: Path
) -> None:
    files = [tmp_path / "b.geojson", tmp_path / "a.geojson"]
    for source, path in zip(town, files, strict=True):
        gpd.read_file(source).to_crs("EPSG:4326").to_file(path)
    code, out, _ = run(*files, tmp_path / "out.fgb", "--json", "-q")
    assert code == 0 and "UTM" in json.loads(out)["crs"]
    assert counts(tmp_path / "out.fgb") == FOUND
    assert rows(tmp_path / "out.fgb").crs == "EPSG:4326"


@pytest.mark.parametrize("height", [7.0, 33.3, 1000.0])
def test_the_rows_do_not_depend_on_the_strips(
    town: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: float
) -> None:
    change(Date(path=town[0]), Date(path=town[1]), tmp_path / "whole.geojsonl")
    monkeypatch.setattr("buildmap.changes.ground._strip_m", lambda *_: height)
    change(Date(path=town[0]), Date(path=town[1]), tmp_path / "strips.geojsonl")
    assert (tmp_path / "strips.geojsonl").read_bytes() == (tmp_path / "whole.geojsonl").read_bytes()


def test_a_series_believes_what_two_of_three_dates_say(tmp_path: Path) -> None:
    town = houses(1)
    flicker = [*town[:5], *town[6:]]
    built = [*town, shapely.box(EAST - 40, NORTH - 40, EAST - 30, NORTH - 30)]
    dates = [town, flicker, built, built, flicker, flicker]
    told = []
    known = write_layer(tmp_path / "0.gpkg", dates[0])
    for number, shapes in enumerate(dates[1:], 1):
        later = write_layer(tmp_path / f"seen{number}.gpkg", shapes)
        run(known, later, tmp_path / f"{number}.gpkg", "--confirm", "2/3", "-q")
        known = tmp_path / f"{number}.gpkg"
        told.append({status: count for status, count in counts(known).items() if status != "unchanged"})
    assert told == [{"missing": 1}, {"appearing": 1}, {"added": 1}, {"missing": 2}, {"removed": 2}]


def test_what_the_second_imagery_did_not_show_is_not_gone(tmp_path: Path) -> None:
    town = houses(2)
    before, after = write_layer(tmp_path / "b.gpkg", town), write_layer(tmp_path / "a.gpkg", town[72:])
    seen = np.zeros((700, 700), np.uint8)
    north_m = town[36].bounds[1] - 3 - NORTH  # three rows of houses to the south were not seen
    seen[: 700 - round((north_m + 50) * 2)] = 7
    transform = Affine(0.5, 0, EAST - 20, 0, -0.5, NORTH + 300)
    write_raster(tmp_path / "image.tif", seen, transform=transform, nodata=0)
    run(before, after, tmp_path / "out.gpkg", "--valid-after", tmp_path / "image.tif", "-q")
    assert counts(tmp_path / "out.gpkg") == {"unchanged": 72, "removed": 36, "unobserved": 36}
    found = rows(tmp_path / "out.gpkg")
    assert {*found[found.status == "unobserved"].row_before} == {*range(36)}


def test_only_some_statuses_go_down_a_pipe(town: tuple[Path, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "buildmap",
        "change",
        *map(str, town),
        "-",
        "--only",
        "added,removed",
        "-q",
    ]
    out = subprocess.run([*command, "-f", "GeoJSONSeq"], capture_output=True, check=True).stdout
    told = [json.loads(line)["properties"] for line in out.splitlines()]
    assert sorted(one["status"] for one in told) == ["added", "removed"]


def test_shifts_and_a_report_are_written_beside(town: tuple[Path, Path], tmp_path: Path) -> None:
    shifts, page = tmp_path / "shifts.gpkg", tmp_path / "page.html"
    code, _, _ = run(*town, tmp_path / "out.gpkg", "--shifts", shifts, "--html", page, "-q")
    assert code == 0
    blocks = gpd.read_file(shifts)
    assert {*blocks.source} <= {"own", "neighbours", "all"}
    np.testing.assert_allclose(blocks[["dx_m", "dy_m"]], [[2, 1.5]] * len(blocks), atol=0.05)
    assert "before.gpkg" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("empty", ["before", "after", "both"])
def test_empty_layers_have_no_buildings(tmp_path: Path, empty: str) -> None:
    sides = {side: write_layer(tmp_path / f"{side}.gpkg", houses(3)) for side in ("before", "after")}
    for side in sides if empty == "both" else [empty]:
        gpd.read_file(sides[side]).iloc[:0].to_file(sides[side])
    code, out, err = run(sides["before"], sides["after"], tmp_path / "out.gpkg", "--json", "-q")
    assert (code, err) == (0, "")
    expected = {"before": {"added": 144}, "after": {"removed": 144}, "both": {}}[empty]
    assert {status: count for status, count in json.loads(out)["statuses"].items() if count} == expected
    assert len(rows(tmp_path / "out.gpkg")) == sum(expected.values())


def test_what_cannot_be_is_refused_before_any_work(town: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = Date(path=town[0]), Date(path=town[1])
    with pytest.raises(OutputError, match="is the input"):
        change(before, after, town[1], delivery=Delivery(overwrite=True))
    with pytest.raises(OutputError, match="written twice"):
        change(before, after, tmp_path / "x.gpkg", delivery=Delivery(shifts=tmp_path / "x.gpkg"))
    with pytest.raises(OutputError, match="cannot be streamed"):
        change(before, after, Path("-"), delivery=Delivery(format="GPKG"))
    with pytest.warns(UserWarning, match="crs"):
        write_layer(tmp_path / "nowhere.gpkg", houses(0), crs=None)
    with pytest.raises(InputError, match="no CRS"):
        change(Date(path=tmp_path / "nowhere.gpkg"), after, tmp_path / "x.gpkg")
    with pytest.raises(InputError, match="no column 'nr'"):
        change(before, after, tmp_path / "x.gpkg", Comparing(id_column="nr"))
    assert not (tmp_path / "x.gpkg").exists()


def test_interrupted_it_leaves_nothing_and_says_so(
    town: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        return tell(*arguments)

    tell = streaming.tell
    monkeypatch.setattr(streaming, "tell", interrupted)
    monkeypatch.setattr("buildmap.changes.ground._strip_m", lambda *_: 40.0)
    code, _, err = run(*town, tmp_path / "out.gpkg", "-q")
    assert code == 143 and "run it again" in err
    assert {path.name for path in tmp_path.iterdir()} == {"before.gpkg", "after.gpkg"}
