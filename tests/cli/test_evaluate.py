"""`buildmap evaluate`, seen from a shell."""

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.scenes import ORIGIN, UTM, blocks_mask, houses_image, write_layer, write_raster

Files = tuple[Path, Path]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def score(*arguments: object) -> dict:
    """Run and read the JSON, in which nothing may be that other readers refuse."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    code, out, err = run(*arguments, "--json", "-q")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=refuse)


@pytest.fixture
def mask() -> np.ndarray:
    return blocks_mask(np.random.default_rng(0), 90, 70)


@pytest.fixture
def files(mask: np.ndarray, tmp_path: Path) -> Files:
    prediction = write_raster(tmp_path / "p.tif", np.where(mask, 0.75, 0.25).astype(np.float32))
    return prediction, write_raster(tmp_path / "t.tif", mask)


@pytest.fixture
def wrong(mask: np.ndarray, tmp_path: Path) -> Path:
    """Write a prediction that misses some, and finds what is not there."""
    found = mask.copy()
    found[:30] = 0
    found[60:, 50:] = 1
    return write_raster(tmp_path / "wrong.tif", found)


def test_json_is_one_object_with_every_score(files: Files) -> None:
    summary = score(*files)
    assert summary["schema_version"] == 2
    assert (summary["threshold"], summary["iou_min"], summary["empty_rule"]) == (0.5, 0.5, "epsilon")
    names = ("iou", "f1", "dice", "precision", "recall", "accuracy", "balanced_accuracy", "mean_iou")
    assert summary["total"]["pixels"] == dict.fromkeys(names, 1)
    assert set(summary["macro"]) == {"epsilon", "one", "skip"}
    assert summary["macro"]["epsilon"] == summary["pairs"][0]["scores"]["pixels"]
    assert sum(summary["total"]["confusion"].values()) == 90 * 70
    assert summary["total"]["objects"]["at_50"] == {"precision": 1, "recall": 1, "f1": 1}
    assert len(summary["total"]["objects"]["by_iou"]) == 10
    assert summary["buildings"] == summary["total"]["instances"]["tp"] > 3
    assert summary["total"]["boundary"]["width_m"] == 1
    assert summary["total"]["boundary"]["iou"] == summary["total"]["similarity"]["ssim"] == 1
    assert summary["total"]["calibration"]["ece"] == pytest.approx(0.25, abs=0.01)
    assert summary["total"]["outlines"]["polis_m"]["mean"] == 0
    assert summary["pairs"][0]["alignment"] == {"same_grid": True, "offset_px": [0, 0], "gsd_ratio": 1}
    assert summary["pairs"][0]["crs"] == UTM
    assert summary["intervals"]["iou"] == {"low": None, "high": None}  # of one cell
    assert summary["paired"] is summary["other"] is None


def test_without_json_the_scores_are_a_table(files: Files) -> None:
    code, out, _ = run(*files, "-q")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split("  ")[-1] == "mean IoU"
    assert lines[1].split() == ["pixels", *["1.0000"] * 6]
    assert lines[3].split()[-3:] == ["found", "invented", "missed"]
    found, invented, missed = lines[4].split()[-3:]
    assert lines[4].split()[:5] == ["buildings", *["1.0000"] * 4]
    assert (int(found) > 3, invented, missed) == (True, "0", "0")
    assert len({len(line) for line in lines[:2]}) == len({len(line) for line in lines[3:5]}) == 1
    told = {line.split()[0]: line for line in lines[6:]}
    assert set(told) == {
        *("boundary", "SSIM", "calibration", "threshold", "COCO", "joined", "cells", "outlines")
    }
    assert told["boundary"].endswith("IoU 1.0000, F1 1.0000 within 1 m")


def test_folders_get_a_line_for_each_pair(files: Files, wrong: Path, tmp_path: Path) -> None:
    for folder, file in (("pp", files[0]), ("tt", files[1])):
        (tmp_path / folder).mkdir()
        for name in ("one.tif", "two.tif"):
            (tmp_path / folder / name).write_bytes(file.read_bytes())
    (tmp_path / "pp/two.tif").write_bytes(wrong.read_bytes())
    code, out, _ = run(tmp_path / "pp", tmp_path / "tt", "-q")
    assert code == 0
    rows = [line.split() for line in out.splitlines()[1:5]]
    assert [row[0] for row in rows] == ["one.tif", "two.tif", "micro", "macro"]
    one, two, _, macro = (float(row[1]) for row in rows)
    assert macro == pytest.approx((one + two) / 2, abs=1e-4)
    assert one == 1 > two


def test_the_threshold_is_passed_on(files: Files) -> None:
    nothing = score(*files, "--threshold", 0.9)["total"]["confusion"]
    assert nothing["tp"] == nothing["fp"] == 0 < nothing["fn"]
    everything = score(*files, "--threshold", 0.2)["total"]["confusion"]
    assert everything["tn"] == everything["fn"] == 0


def test_bbox_aoi_and_smallest_area_are_passed_on(files: Files, tmp_path: Path) -> None:
    bbox = score(*files, "--bbox", "400000,4999990,400010,5000000")
    assert sum(bbox["total"]["confusion"].values()) == 20 * 20
    area = write_layer(tmp_path / "aoi.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    aoi = score(*files, "--aoi", area)
    assert aoi["total"]["confusion"] == bbox["total"]["confusion"]
    assert score(*files, "--min-area-m2", 10_000)["buildings"] == 0


def test_the_pixel_size_between_layers_is_passed_on(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    assert score(layer, layer, "--gsd-m", 0.5)["total"]["confusion"]["tp"] == 400


def test_widths_and_cells_are_passed_on(files: Files) -> None:
    total = score(*files, "--boundary-m", 2.6, "--corner-m", 0.7, "--cell-m", 5)["total"]
    assert (total["boundary"]["width_m"], total["boundary"]["width_px"]) == (2.6, 5)
    assert total["outlines"]["corner_tolerance_m"] == 0.7
    assert (total["cells"]["cell_m"], total["cells"]["cells"]) == (5, 9 * 7)


@pytest.mark.parametrize(
    ("measures", "there"),
    [
        ("none", set()),
        ("boundary", {"boundary"}),
        ("ssim,boundary", {"boundary", "similarity"}),
        ("objects", {"instances", "objects", "average_precision", "segmentation", "cells"}),
        ("outlines", {"instances", "objects", "outlines"}),
        ("topology", {"topology"}),
        (
            "all",
            {
                *("boundary", "similarity", "instances", "objects", "average_precision"),
                *("segmentation", "cells", "outlines", "topology"),
            },
        ),
    ],
)
def test_what_is_not_measured_is_null(files: Files, tmp_path: Path, measures: str, there: set[str]) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(400_001, 4_999_990, 400_011, 4_999_998)])
    total = score(layer, files[1], "--measures", measures)["total"]
    always = {"confusion", "pixels"}
    assert {name for name, value in total.items() if value is not None} == there | always
    assert set(total) >= there | always | {"calibration", "sweep"}
    code, out, _ = run(layer, files[1], "--measures", measures, "-q")
    assert code == 0
    assert ("found" in out) == ("instances" in there)


@pytest.mark.parametrize(("rule", "macro"), [("epsilon", 0.75), ("one", 0.75), ("skip", 0.5)])
def test_what_nothing_in_nothing_is_worth_can_be_chosen(tmp_path: Path, rule: str, macro: float) -> None:
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 1
    for name, predicted, true in (("a", half * 0 + 1, half), ("b", half * 0, half * 0)):
        for folder, pixels in (("p", predicted), ("t", true)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_raster(tmp_path / folder / f"{name}.tif", pixels)
    summary = score(tmp_path / "p", tmp_path / "t", "--empty", rule)
    assert summary["empty_rule"] == rule
    assert summary["macro"][rule]["iou"] == pytest.approx(macro, abs=1e-5)
    assert summary["pairs"][1]["scores"]["pixels"]["iou"] == (None if rule == "skip" else 1)
    assert summary["pairs"][1]["scores"]["objects"]["at_50"]["f1"] == (None if rule == "skip" else 1)
    line = run(tmp_path / "p", tmp_path / "t", "--empty", rule, "-q")[1].splitlines()[2].split()
    assert line[:2] == ["b.tif", "-" if rule == "skip" else "1.0000"]


def pairs_table(tmp_path: Path, *lines: str) -> Path:
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


@pytest.mark.usefixtures("files")
def test_pairs_from_a_table_are_grouped_by_a_column(wrong: Path, tmp_path: Path) -> None:
    table = pairs_table(
        tmp_path, "prediction,truth,town", "p.tif,t.tif,Ulm", f"{wrong},t.tif,Bonn", "p.tif,t.tif,Bonn"
    )
    summary = score("--pairs", table, "--by", "town", "--by", "gsd", "--by", "gsd")
    groups = {(group["kind"], group["name"]): group for group in summary["groups"]}
    assert list(groups) == [("gsd", "0.50-1.00 m"), ("town", "Ulm"), ("town", "Bonn")]
    assert [group["pairs"] for group in groups.values()] == [3, 1, 2]
    confusions = [pair["scores"]["confusion"] for pair in summary["pairs"]]
    for group, members in (("Ulm", [0]), ("Bonn", [1, 2])):
        counted = groups["town", group]["scores"]["confusion"]
        assert counted == {key: sum(confusions[n][key] for n in members) for key in counted}
    assert groups["gsd", "0.50-1.00 m"]["scores"]["pixels"] == summary["total"]["pixels"]
    assert "town Bonn" in run("--pairs", table, "--by", "town", "-q")[1]


@pytest.mark.parametrize("by", ["{layer}", "{layer}:name", "{layer}:number"])
def test_regions_of_a_layer_are_scored_one_by_one(
    files: Files, wrong: Path, tmp_path: Path, mask: np.ndarray, by: str
) -> None:
    layer = tmp_path / "regions.gpkg"
    halves = [box(400_000, 4_999_955, 400_015, 5_000_000), box(400_015, 4_999_955, 400_035, 5_000_000)]
    gpd.GeoDataFrame({"number": [7, 8], "name": ["west", "east"]}, geometry=halves, crs=UTM).to_file(layer)
    summary = score(wrong, files[1], "--by", by.format(layer=layer))
    names = ["7", "8"] if by.endswith("number") else ["west", "east"]
    assert [(group["kind"], group["name"]) for group in summary["groups"]] == [
        ("region", name) for name in names
    ]
    found = mask.copy()
    found[:30], found[60:, 50:] = 0, 1
    for group, part in zip(summary["groups"], (slice(None, 30), slice(30, None)), strict=True):
        both, either = (found & mask)[:, part].sum(), (found | mask)[:, part].sum()
        assert group["scores"]["confusion"]["tp"] == both
        assert group["scores"]["pixels"]["iou"] == pytest.approx(both / either, abs=1e-5)
    assert {
        key: sum(group["scores"]["instances"][key] for group in summary["groups"])
        for key in ("tp", "fp", "fn")
    } == summary["total"]["instances"]


def test_buildings_are_scored_by_size(files: Files, wrong: Path) -> None:
    summary = score(wrong, files[1], "--by", "size", "--measures", "none")
    assert [(group["kind"], group["name"]) for group in summary["groups"]] == [
        ("size", name) for name in ("shed", "house", "block", "hall")
    ]
    counted = [group["scores"]["instances"] for group in summary["groups"]]
    assert {key: sum(part[key] for part in counted) for key in counted[0]} == summary["total"]["instances"]
    assert {group["scores"]["pixels"] for group in summary["groups"]} == {None}


def test_a_map_is_no_better_than_itself_and_better_than_a_worse_one(files: Files, wrong: Path) -> None:
    same = score(*files, "--paired", files[0], "--cell-m", 5)
    assert set(same["paired"]) == {"iou", "f1", "object_f1"}
    for test in same["paired"].values():
        assert (test["p_value"], test["p_greater"], test["mean_difference"]) == (1, 1, 0)
    assert same["other"] == str(files[0])
    better = score(*files, "--paired", wrong, "--cell-m", 5)["paired"]["iou"]
    assert (better["units"], better["losses"]) == ("cells", 0)
    assert better["mean_difference"] > 0
    assert better["p_value"] < 0.05
    worse = score(wrong, files[1], "--paired", files[0], "--cell-m", 5)["paired"]["iou"]
    assert worse["mean_difference"] == -better["mean_difference"]
    assert worse["p_greater"] > 0.95
    lines = run(*files, "--paired", wrong, "--cell-m", 5, "-q")[1].splitlines()
    assert sum(line.startswith("paired") for line in lines) == 3


@pytest.mark.parametrize("measures", ["none", "outlines", "boundary"])
def test_maps_are_compared_whatever_is_measured(files: Files, wrong: Path, measures: str) -> None:
    paired = score(*files, "--paired", wrong, "--measures", measures)["paired"]
    assert set(paired) == {"iou", "f1"} | ({"object_f1"} if measures == "outlines" else set())


@pytest.mark.usefixtures("files")
def test_many_pairs_are_compared_as_images(wrong: Path, tmp_path: Path) -> None:
    table = pairs_table(tmp_path, "prediction,truth,other", *["p.tif,t.tif,wrong.tif"] * 6)
    summary = score("--pairs", table)
    test = summary["paired"]["iou"]
    assert (test["units"], test["n"], test["wins"]) == ("images", 6, 6)
    assert summary["other"] == str(wrong)


def test_the_table_holds_the_numbers_of_the_summary(files: Files, wrong: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    summary = score(wrong, files[1], "--csv", output, "--by", "gsd", "--cell-m", 5)
    with output.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["scope"] for row in rows] == ["pair", "gsd", "total", "macro"]
    assert {float(row["iou"]) for row in rows} == {summary["total"]["pixels"]["iou"]}
    assert int(rows[2]["object_fn"]) == summary["total"]["instances"]["fn"] > 0
    assert float(rows[2]["iou_low"]) == summary["intervals"]["iou"]["low"]
    assert rows[0]["prediction"] == str(wrong)


def test_the_table_goes_to_stdout_instead_of_the_scores(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*files, "--csv", "scores.csv", "-q")[0] == 0
    code, out, err = run(*files, "--csv", "-", "-q")
    assert (code, err) == (0, "")
    assert out == (tmp_path / "scores.csv").read_text(encoding="utf-8")
    assert not Path("-").exists()


def test_the_report_is_one_page_with_the_crops_of_the_image(
    files: Files, wrong: Path, tmp_path: Path, mask: np.ndarray
) -> None:
    image = write_raster(tmp_path / "image.tif", houses_image(mask, np.random.default_rng(1)))
    plain, drawn = tmp_path / "plain.html", tmp_path / "drawn.html"
    summary = score(wrong, files[1], "--html", plain)
    score(wrong, files[1], "--html", drawn, "--image", image)
    pages = [path.read_text(encoding="utf-8") for path in (plain, drawn)]
    for page in pages:
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert "<h1>How good is wrong.tif?</h1>" in page
        assert f"{summary['total']['pixels']['iou']:.3f}"[:4] in page
        assert page.count('<img src="data:image/png;base64,') == 1  # one cell
        assert "http-equiv" not in page
        assert "<script" not in page
    pictures = [page.split('<img src="data:image/png;base64,')[1].split('"')[0] for page in pages]
    assert len(pictures[1]) > len(pictures[0]) > 100  # an image has more to tell than gray


def test_the_report_tells_what_was_typed(files: Files, tmp_path: Path) -> None:
    output = tmp_path / "a report.html"
    options = ["--html", str(output), "--threshold", "0.6", "--empty", "skip", "--boundary-m", "1.5", "-q"]
    command = [sys.executable, "-m", "buildmap", "evaluate", *map(str, files), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = output.read_text(encoding="utf-8")
    typed = shlex.join(["buildmap", *command[3:]]).replace("'", "&#39;")
    assert typed in page
    assert "probability 0.6" in page
    assert "1.5 m" in page


def test_mistakes_are_layers_as_many_as_counted(tmp_path: Path) -> None:
    polygons = [box(400_000 + x, 4_999_980, 400_006 + x, 4_999_990) for x in (0, 10, 20)]
    truth = write_layer(tmp_path / "t.gpkg", [*polygons, box(400_030, 4_999_980, 400_034, 4_999_983)])
    joined = box(400_000, 4_999_980, 400_016, 4_999_990)  # over the first two
    halves = [box(400_020, 4_999_980, 400_022.9, 4_999_990), box(400_023.1, 4_999_980, 400_026, 4_999_990)]
    prediction = write_layer(tmp_path / "p.gpkg", [joined, *halves])
    output = tmp_path / "errors.gpkg"
    total = score(prediction, truth, "--errors", output)["total"]
    layers = {name: gpd.read_file(output, layer=name) for name in ("false", "missed", "merged", "split")}
    assert list(gpd.list_layers(output)["name"]) == list(layers)
    counts = {name: len(layer) for name, layer in layers.items()}
    assert counts == {"false": 3, "missed": 4, "merged": 1, "split": 1}
    assert (counts["false"], counts["missed"]) == (total["instances"]["fp"], total["instances"]["fn"])
    assert (counts["merged"], counts["split"]) == (
        total["segmentation"]["merged"],
        total["segmentation"]["split"],
    )
    merged = layers["merged"]
    assert merged.geometry[0].equals_exact(joined.normalize(), 1e-6) or merged.geometry[0].equals(joined)
    assert merged["area_m2"][0] == pytest.approx(160, rel=1e-3)
    assert merged["prediction"][0] == "p.gpkg"
    assert {layer.crs.to_epsg() for layer in layers.values()} == {32633}


def test_outputs_are_not_replaced_unless_asked(files: Files, wrong: Path, tmp_path: Path) -> None:
    for option, name in (("--csv", "a.csv"), ("--html", "a.html"), ("--errors", "a.gpkg")):
        output = tmp_path / name
        output.write_text("old", encoding="utf-8")
        code, out, err = run(wrong, files[1], option, output, "-q")
        assert (code, out) == (73, "")
        assert err == f"error: {output} exists already\n hint: pass --overwrite to replace it\n"
        assert output.read_text(encoding="utf-8") == "old"
        assert run(wrong, files[1], option, output, "--overwrite", "-q")[0] == 0
        assert output.read_bytes()[:3] != b"old"


@pytest.mark.usefixtures("files")
def test_what_was_there_stays_where_a_run_fails_midway(tmp_path: Path) -> None:
    far = write_raster(
        tmp_path / "far.tif", np.ones((5, 5), np.uint8), transform=ORIGIN.translation(9e5, 9e5) @ ORIGIN
    )
    table = pairs_table(tmp_path, "prediction,truth", "p.tif,t.tif", f"{far.name},t.tif")
    outputs = [tmp_path / name for name in ("a.csv", "a.html", "a.gpkg")]
    for output in outputs:
        output.write_text("old", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    options = ["--csv", outputs[0], "--html", outputs[1], "--errors", outputs[2], "--overwrite"]
    code, _, err = run("--pairs", table, *options, "-q")
    assert code == 65
    assert "far.tif does not touch" in err
    assert {output.read_text(encoding="utf-8") for output in outputs} == {"old"}
    assert sorted(tmp_path.iterdir()) == before


def test_inputs_are_not_written_over(files: Files, tmp_path: Path) -> None:
    area = write_layer(tmp_path / "aoi.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    table = pairs_table(tmp_path, "prediction,truth", "p.tif,t.tif")
    attempts = [
        (files[0], [*files]),
        (files[1], [*files]),
        (area, [*files, "--aoi", area]),
        (area, [*files, "--by", area]),
        (table, ["--pairs", table]),
    ]
    for output, arguments in attempts:
        before = output.read_bytes()
        code, _, err = run(*arguments, "--csv", output, "--overwrite", "-q")
        assert (code, err.splitlines()[0]) == (73, f"error: output {output} is the input {output}")
        assert output.read_bytes() == before


def test_two_outputs_of_one_name_are_73(files: Files, tmp_path: Path) -> None:
    code, _, err = run(*files, "--csv", tmp_path / "a", "--html", tmp_path / "." / "a")
    assert (code, err.count("\n")) == (73, 2)
    assert "would be written twice" in err
    assert not (tmp_path / "a").exists()


def test_mistakes_without_a_crs_have_no_place(tmp_path: Path, mask: np.ndarray) -> None:
    plain = write_raster(tmp_path / "p.tif", mask, crs=None)
    code, out, err = run(plain, plain, "--errors", tmp_path / "e.gpkg", "-q")
    assert (code, out) == (65, "")
    assert err.endswith("\n hint: leave out --errors\n")
    assert not (tmp_path / "e.gpkg").exists()


def test_mistakes_go_into_a_geopackage_only(files: Files, tmp_path: Path) -> None:
    code, _, err = run(*files, "--errors", tmp_path / "e.shp")
    assert code == 73
    assert "only as .gpkg" in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--empty", "zero"], ["zero", "epsilon, one, skip"]),
        (["--measures", "pixel"], ["pixel", "all, none", "boundary,ssim,objects,outlines,topology"]),
        (["--measures", "ssim,shape"], ["'shape'"]),
        (["--measures", ""], ["all, none"]),
        (["--by", "town"], ["town", "gsd, size", "no layer"]),
        (["--measures", "ssim", "--errors", "e.gpkg"], ["add objects"]),
        (["--image", "i.tif"], ["--html"]),
        (["--pairs", "x.csv"], ["--pairs names all files"]),
        (["--seed", "-1"], ["--seed"]),
        (["--cell-m", "nan"], ["--cell-m", "not a finite number"]),
        (["--boundary-m", "0"], ["--boundary-m"]),
        (["--cell-m", "1e300"], ["--cell-m", "1000000000"]),
        (["--csv", "-", "--json"], ["only one of --csv and --json"]),
        (["--html", "-"], ["stdout"]),
        (["--errors", "-"], ["stdout"]),
    ],
)
def test_what_does_not_exist_is_a_usage_error_with_all_choices(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i.tif").write_bytes(files[1].read_bytes())
    code, out, err = run(*files, *options)
    assert (code, out) == (2, "")
    assert [text for text in told if text not in err] == []


@pytest.mark.usefixtures("files")
def test_a_column_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    table = pairs_table(tmp_path, "prediction,truth,town,year", "p.tif,t.tif,Ulm,2020")
    code, out, err = run("--pairs", table, "--by", "twon")
    assert (code, out) == (2, "")
    assert "'twon' is not one of gsd, size, town, year" in err


@pytest.mark.parametrize("arguments", [[], ["p.tif"]])
def test_a_prediction_and_a_truth_are_needed(arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert "give PREDICTION and TRUTH, or --pairs" in err


@pytest.mark.parametrize("name", ["none.gpkg", "none.gpkg:name"])
def test_missing_regions_are_66(files: Files, name: str) -> None:
    code, _, err = run(*files, "--by", name)
    assert (code, err) == (66, "error: none.gpkg does not exist\n")


def test_a_second_layer_of_regions_is_2(files: Files, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "r.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    code, _, err = run(*files, "--by", layer, "--by", f"{layer}:name")
    assert code == 2
    assert "one layer of regions at a time" in err


def test_a_column_that_regions_lack_is_65_with_those_they_have(files: Files, tmp_path: Path) -> None:
    layer = tmp_path / "r.gpkg"
    gpd.GeoDataFrame({"town": ["a"]}, geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(layer)
    code, _, err = run(*files, "--by", f"{layer}:twon")
    assert code == 65
    assert "town" in err


@pytest.mark.usefixtures("files")
def test_rows_of_a_table_whose_files_are_missing_are_all_named(tmp_path: Path) -> None:
    table = pairs_table(tmp_path, "prediction,truth", "p.tif,t.tif", "x.tif,t.tif", "p.tif,y.gpkg")
    code, out, err = run("--pairs", table)
    assert (code, out) == (66, "")
    assert err.splitlines()[1:] == [
        f"  row 2: {tmp_path / 'x.tif'} does not exist",
        f"  row 3: {tmp_path / 'y.gpkg'} does not exist",
    ]


@pytest.mark.usefixtures("files")
def test_a_table_without_truths_is_65(tmp_path: Path) -> None:
    code, _, err = run("--pairs", pairs_table(tmp_path, "prediction,thruth", "p.tif,t.tif"))
    assert code == 65
    assert err.endswith("lacks the column truth\n hint: did you mean 'thruth'?\n")


@pytest.mark.usefixtures("files")
def test_some_pairs_with_another_prediction_and_some_without_are_65(tmp_path: Path) -> None:
    table = pairs_table(tmp_path, "prediction,truth,other", "p.tif,t.tif,p.tif", "p.tif,t.tif,")
    code, _, err = run("--pairs", table)
    assert code == 65
    assert "hint: fill the column 'other'" in err


def test_an_image_that_is_none_is_told_before_any_work(files: Files, tmp_path: Path) -> None:
    area = write_layer(tmp_path / "aoi.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    code, _, err = run(*files, "--image", area, "--html", tmp_path / "a.html", "--threshold", 0.9)
    assert code == 65
    assert "aoi.gpkg cannot be read as a raster" in err
    assert not list(tmp_path.glob(".a.html*"))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_66(files: Files, missing: int) -> None:
    files[missing].unlink()
    code, out, err = run(*files)
    assert (code, out) == (66, "")
    assert f"{files[missing]} does not exist" in err


@pytest.mark.parametrize("option", ["--aoi", "--paired", "--image"])
def test_another_missing_file_is_66(files: Files, tmp_path: Path, option: str) -> None:
    code, _, err = run(*files, option, tmp_path / "none.gpkg", "--html", tmp_path / "a.html")
    assert code == 66
    assert "none.gpkg does not exist" in err
    assert not (tmp_path / "a.html").exists()


def test_rasters_that_share_no_ground_are_65_with_both_extents(files: Files, tmp_path: Path) -> None:
    far = write_raster(
        tmp_path / "far.tif", np.ones((5, 5), np.uint8), transform=ORIGIN.translation(9e5, 9e5) @ ORIGIN
    )
    code, out, err = run(far, files[1])
    assert (code, out) == (65, "")
    assert "far.tif does not touch" in err
    assert "(400000, 4999955, 400035, 5000000)" in err


@pytest.mark.parametrize("option", ["--aoi", "--bbox"])
def test_ground_outside_the_raster_is_65(files: Files, tmp_path: Path, option: str) -> None:
    far = write_layer(tmp_path / "aoi.gpkg", [box(0, 0, 10, 10)])
    code, _, err = run(*files, option, far if option == "--aoi" else "0,0,10,10")
    assert code == 65
    assert "does not touch the ground" in err


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "10,0,0,10", ""])
def test_a_box_that_is_none_is_2(files: Files, text: str) -> None:
    code, _, err = run(*files, "--bbox", text)
    assert code == 2
    assert "--bbox" in err


def test_a_text_file_is_65(files: Files, tmp_path: Path) -> None:
    text = tmp_path / "notes.tif"
    text.write_text("not a raster", encoding="utf-8")
    code, _, err = run(files[0], text)
    assert code == 65
    assert "notes.tif" in err


def test_a_file_and_a_folder_are_65(files: Files, tmp_path: Path) -> None:
    code, _, err = run(files[0], tmp_path)
    assert code == 65
    assert " hint: compare files, or folders" in err


def test_rims_too_wide_to_be_held_are_65_with_a_width_that_fits(files: Files) -> None:
    code, out, err = run(*files, "--boundary-m", 1e9)
    assert (code, out) == (65, "")
    assert "pixels wide; 1,024 is the most" in err
    fits = err.split("--boundary-m ")[1].split(",")[0]
    assert (
        score(*files, "--boundary-m", fits, "--measures", "boundary")["total"]["boundary"]["width_px"] > 1000
    )
    assert score(*files, "--boundary-m", 1e9, "--measures", "none")["total"]["boundary"] is None


def test_pixels_without_data_on_either_side_are_65_with_what_to_look_at(files: Files, tmp_path: Path) -> None:
    blank = write_raster(tmp_path / "blank.tif", np.full((90, 70), 9, np.uint8), nodata=9)
    code, _, err = run(blank, files[1])
    assert code == 65
    assert "no valid pixel in common" in err
    assert err.endswith(f" hint: look for nodata: gdalinfo -stats {blank}\n")


def test_cells_too_many_to_keep_are_65_with_a_size_that_fits(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", [box(4e5, 5e6, 4e5 + 1000, 5e6 + 1000)])
    options = [layer, layer, "--gsd-m", 0.1, "--measures", "none"]
    code, _, err = run(*options, "--cell-m", 0.1)
    assert code == 65
    assert "--cell-m 1\n" in err
