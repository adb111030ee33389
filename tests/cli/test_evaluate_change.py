"""`buildmap evaluate --change` and `--scot`, seen from a shell."""

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.cli.evaluate_change import aligned, share
from tests.scenes import UTM, write_layer

X, Y = 400_000, 5_000_000
Files = tuple[Path, Path]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def score(*arguments: object) -> dict:
    code, out, err = run(*arguments, "--json", "-q")
    assert (code, err) == (0, "")
    return json.loads(out)


def write(path: Path, said: list[str], *, column: str = "status", **columns: list[object]) -> Path:
    path.parent.mkdir(exist_ok=True)
    data = {column: said, **{name: np.array(values, object) for name, values in columns.items()}}
    houses = [box(X + 20 * place, Y, X + 20 * place + 10, Y + 10) for place in range(len(said))]
    gpd.GeoDataFrame(data, geometry=houses, crs=UTM).to_file(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    kinds: list[object] = [None, None, "split", None, None, None]
    truth = ["added", "removed", "changed", "unchanged", "unchanged", "unobserved"]
    said = ["added", "changed", "changed", "unchanged", "missing", "removed"]
    return write(tmp_path / "p.gpkg", said, kind=kinds), write(tmp_path / "t.gpkg", truth, kind=kinds)


@pytest.fixture
def dates(tmp_path: Path) -> Files:
    for name, seen, true in (
        ("2024-05", ["1", "2"], ["a", "b"]),
        ("2024-06", ["1", "9", "3"], ["a", "b", "c"]),
    ):
        write(tmp_path / "pp" / f"{name}.gpkg", seen, column="building_id")
        write(tmp_path / "tt" / f"{name}.gpkg", true, column="Id")
    return tmp_path / "pp", tmp_path / "tt"


def test_changes_are_scored_in_one_object(files: Files) -> None:
    summary = score(*files, "--change")
    assert (summary["schema_version"], summary["measure"]) == (1, "change")
    assert (summary["iou_min"], summary["empty_rule"]) == (0.5, "epsilon")
    statuses = summary["total"]["statuses"]
    assert list(statuses) == ["added", "removed", "changed", "unchanged"]
    assert statuses["changed"] == {
        "true": 1,
        "predicted": 2,
        "tp": 1,
        "fp": 1,
        "fn": 0,
        "recall": 1,
        "precision": pytest.approx(0.5, abs=1e-4),
        "f1": pytest.approx(2 / 3, abs=1e-4),
    }
    assert summary["total"]["change"]["tp"] == 3
    assert summary["total"]["kinds"]["split"]["tp"] == 1
    assert summary["total"]["confusion"]["removed"]["changed"] == 1
    assert summary["total"]["set_aside"] == 1
    assert summary["total"]["not_scored"] == {"prediction": {"missing": 1}, "truth": {"unobserved": 1}}


def test_changes_are_told_in_tables(files: Files) -> None:
    code, out, _ = run(*files, "--change", "-q")
    assert code == 0
    scores, kinds, table = (part.splitlines() for part in out.split("\n\n"))
    assert scores[0].split() == ["precision", "recall", "F1", "true", "predicted", "right"]
    assert [line.split()[0] for line in scores[1:]] == ["added", "removed", "changed", "unchanged", "any"]
    assert scores[1].split() == ["added", "1.0000", "1.0000", "1.0000", "1", "1", "1"]
    assert [line.split()[0] for line in kinds] == ["changed", "split"]
    assert table[0].split() == ["added", "removed", "changed", "unchanged", "other", "unmatched"]
    assert table[4].split() == ["true", "unchanged", "0", "0", "0", "1", "1", "0"]
    assert table[5].split() == ["in", "no", "truth", *["0"] * 6]
    assert table[6:] == [
        "not scored in the prediction: missing 1",
        "not scored in the truth: unobserved 1",
        "set aside where the truth has no status: 1",
    ]


def test_what_is_not_there_is_not_told(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.gpkg", ["added", "unchanged"])
    out = run(plain, plain, "--change", "-q")[1]
    assert "split" not in out and "not scored" not in out and "set aside" not in out
    unchanged = write(tmp_path / "u.gpkg", ["unchanged"], kind=[None])
    assert run(unchanged, unchanged, "--change", "--empty", "skip", "-q")[1].splitlines()[1].split()[:4] == [
        *("added", "-", "-", "-")
    ]


def test_pairs_of_folders_get_a_line_each(files: Files, tmp_path: Path) -> None:
    for folder, file in zip(("a", "b"), files, strict=True):
        (tmp_path / folder).mkdir()
        for name in ("one.gpkg", "two.gpkg"):
            (tmp_path / folder / name).write_bytes(file.read_bytes())
    out = run(tmp_path / "a", tmp_path / "b", "--change", "-q")[1]
    lines = [line.split() for line in out.splitlines()]
    assert [line for line in lines if line[:1] in (["one.gpkg"], ["two.gpkg"])] == [
        [name, "1.0000", "1.0000", "1.0000", "3", "3", "3"] for name in ("one.gpkg", "two.gpkg")
    ]
    table = tmp_path / "pairs.csv"
    table.write_text("prediction,truth\na/one.gpkg,b/one.gpkg\na/two.gpkg,b/two.gpkg\n")
    assert score("--pairs", table, "--change")["total"]["change"]["tp"] == 6


def test_options_of_change_are_passed_on(files: Files, tmp_path: Path) -> None:
    inside = score(*files, "--change", "--bbox", f"{X},{Y},{X + 35},{Y + 10}")
    assert inside["total"]["change"]["true"] == 2
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(X, Y, X + 15, Y + 10)])
    assert score(*files, "--change", "--aoi", aoi)["total"]["change"]["true"] == 1
    assert score(*files, "--change", "--empty", "one", "--iou-min", 0.8)["iou_min"] == 0.8
    assert score(*files, "--change", "--empty", "skip")["empty_rule"] == "skip"


def test_a_series_is_scored_in_one_object(dates: Files) -> None:
    summary = score(*dates, "--scot", "--id-column", "building_id,Id")
    assert (summary["measure"], summary["iou_min"], summary["beta"]) == ("scot", 0.25, 2)
    scot = summary["areas"][0]["scot"]
    assert scot["buildings"] == {"tp": 5, "fp": 0, "fn": 0, "f1": 1}
    assert (scot["mismatches"], scot["tracking"]["f1"]) == (1, 0.8)
    assert scot["change"] == {"tp": 1, "fp": 1, "fn": 0, "f1": pytest.approx(2 / 3)}
    assert summary["score"] == scot["score"] == pytest.approx(5 * (2 / 3) * 0.8 / (4 * (2 / 3) + 0.8))
    assert score(*dates, "--scot", "--id-column", "building_id,Id", "--iou-min", 0.9)["iou_min"] == 0.9


def test_a_series_is_told_date_by_date(dates: Files) -> None:
    code, out, _ = run(*dates, "--scot", "--id-column", "building_id, Id", "-q")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["tt", "found", "invented", "missed", "F1"]
    assert [line.split()[0] for line in lines[1:-1]] == ["2024-05", "2024-06", "all", "tracking", "change"]
    assert lines[2].split() == ["2024-06", "3", "0", "0", "1.0000"]
    assert lines[4].split() == ["tracking", "4", "1", "1", "0.8000"]
    assert lines[-1] == "SCOT 0.7692, mismatches 1"


def test_a_table_gives_the_dates_in_its_own_order_and_areas_their_mean(dates: Files, tmp_path: Path) -> None:
    table = tmp_path / "dates.csv"
    table.write_text("prediction,truth\npp/2024-06.gpkg,tt/2024-06.gpkg\npp/2024-05.gpkg,tt/2024-05.gpkg\n")
    (area,) = score("--pairs", table, "--scot", "--id-column", "building_id,Id")["areas"]
    assert (area["name"], [date["name"] for date in area["dates"]]) == ("dates", ["2024-06", "2024-05"])
    for side in dates:
        for area in ("ulm", "bonn"):
            (tmp_path / "areas" / side.name).mkdir(parents=True, exist_ok=True)
            copy = tmp_path / "areas" / side.name / area
            copy.mkdir()
            for path in side.iterdir():
                (copy / path.name).write_bytes(path.read_bytes())
    folders = tmp_path / "areas" / "pp", tmp_path / "areas" / "tt"
    out = run(*folders, "--scot", "--id-column", "building_id,Id", "-q")[1].splitlines()
    assert [line.split()[0] for line in out if "invented" in line] == ["bonn", "ulm"]
    assert out[-1] == "SCOT of all 2 areas, their mean: 0.7692"


def test_tables_go_to_a_file_or_to_stdout(files: Files, dates: Files, tmp_path: Path) -> None:
    for arguments in ((*files, "--change"), (*dates, "--scot", "--id-column", "building_id,Id")):
        out = tmp_path / "out.csv"
        assert run(*arguments, "--csv", out, "--overwrite", "-q")[0] == 0
        code, text, _ = run(*arguments, "--csv", "-", "-q")
        assert (code, text) == (0, out.read_text())
        assert len(list(csv.DictReader(text.splitlines()))) > 3
        code, _, err = run(*arguments, "--csv", out, "-q")
        assert (code, err) == (73, f"error: {out} exists already\n hint: pass --overwrite to replace it\n")
    table = tmp_path / "pairs.csv"
    table.write_text("prediction,truth\np.gpkg,t.gpkg\n")
    code, _, err = run("--pairs", table, "--change", "--csv", table, "--overwrite")
    assert (code, err.splitlines()[0]) == (73, f"error: output {table} is the input {table}")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--change", "--scot"], "--scot"),
        (["--change", "--html", "x.html"], "--html has no meaning with --change"),
        (
            ["--change", "--threshold", "0.4", "--by", "size"],
            "--threshold, --by has no meaning with --change",
        ),
        (["--change", "--id-column", "x"], "--id-column has no meaning with --change"),
        (["--scot", "--empty", "one"], "--empty has no meaning with --scot"),
        (["--scot", "--aoi", "a.gpkg"], "--aoi has no meaning with --scot"),
        (["--scot", "--id-column", "a,b,c"], "'a,b,c' is not NAME, or NAME,NAME"),
        (["--scot", "--id-column", "a,"], "'a,' is not NAME, or NAME,NAME"),
        (["--change", "--csv", "-", "--json"], "only one of --csv and --json"),
        (["--change", "--empty", "zero"], "epsilon, one, skip"),
        (["--change", "--iou-min", "0"], "--iou-min"),
        (["--change", "--pairs", "x.csv"], "--pairs names all files"),
        (["--iou-min", "0.4"], "--iou-min says nothing without --change or --scot"),
        (["--id-column", "x"], "--id-column says nothing without --change or --scot"),
    ],
)
def test_options_that_would_be_passed_over_are_usage_errors(
    files: Files, options: list[str], told: str
) -> None:
    code, out, err = run(*files, *options)
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize("option", ["--change", "--scot"])
def test_a_prediction_and_a_truth_are_needed(files: Files, option: str) -> None:
    assert run(option)[0] == run(files[0], option)[0] == 2


def test_an_option_from_the_environment_is_no_mistake(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDMAP_THRESHOLD", "0.3")
    assert run(*files, "--change", "-q")[0] == 0


def test_layers_that_cannot_be_used_are_65_and_missing_ones_66(files: Files, tmp_path: Path) -> None:
    plain = write_layer(tmp_path / "plain.gpkg", [box(X, Y, X + 10, Y + 10)])
    code, out, err = run(plain, files[1], "--change", "-q")
    assert (code, out) == (65, "")
    assert err.startswith(f"error: {plain} has no column 'status'")
    assert run(tmp_path / "no.gpkg", files[1], "--change")[0] == 66
    code, _, err = run(*files, "--scot")
    assert (code, err) == (65, f"error: {files[0]} is a file, not a folder with a layer for each date\n")


def test_a_table_is_aligned() -> None:
    lines = aligned(("a long head", "x"), [("b", "1"), ("cc", "22")])
    assert lines == ["a long head           x", "b                     1", "cc                   22"]
    assert (share(0.12345), share(float("nan"))) == ("0.1235", "-")
