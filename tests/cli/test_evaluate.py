"""`buildmap evaluate`, seen from a shell."""

import json
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.scenes import ORIGIN, blocks_mask, write_layer, write_raster


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    mask = blocks_mask(np.random.default_rng(0), 90, 70)
    prediction = write_raster(tmp_path / "p.tif", np.where(mask, 0.75, 0.25).astype(np.float32))
    return prediction, write_raster(tmp_path / "t.tif", mask)


def test_json_is_one_object_with_every_score(files: tuple[Path, Path]) -> None:
    code, out, err = run(*files, "--json", "-q")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert summary["schema_version"] == 1
    assert summary["micro"] == summary["macro"] == summary["pairs"][0]["pixels"]
    assert summary["micro"] == {"iou": 1, "precision": 1, "recall": 1, "f1": 1, "accuracy": 1}
    assert sum(summary["confusion"].values()) == 90 * 70
    assert summary["objects"] == {"precision": 1, "recall": 1, "f1": 1}
    assert summary["buildings"] == summary["instances"]["tp"] > 3


def test_without_json_the_scores_are_a_table(files: tuple[Path, Path]) -> None:
    code, out, _ = run(*files, "-q")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["IoU", "precision", "recall", "F1", "accuracy"]
    assert lines[1].split() == ["pixels", *["1.0000"] * 5]
    assert lines[2].split() == ["buildings", "-", *["1.0000"] * 3, "-"]
    assert lines[3].endswith("buildings found, 0 invented, 0 missed (IoU from 0.5)")
    assert len({len(line) for line in lines[:3]}) == 1


def test_folders_get_a_line_for_each_pair(files: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, file in zip(("pp", "tt"), files, strict=True):
        (tmp_path / folder).mkdir()
        for name in ("one.tif", "two.tif"):
            (tmp_path / folder / name).write_bytes(file.read_bytes())
    code, out, _ = run(tmp_path / "pp", tmp_path / "tt", "-q")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:6]] == [
        "one.tif",
        "two.tif",
        "micro",
        "macro",
        "buildings",
    ]


def test_the_threshold_is_passed_on(files: tuple[Path, Path]) -> None:
    nothing = json.loads(run(*files, "--threshold", 0.9, "--json")[1])
    assert nothing["confusion"]["tp"] == nothing["confusion"]["fp"] == 0 < nothing["confusion"]["fn"]
    everything = json.loads(run(*files, "--threshold", 0.2, "--json")[1])
    assert everything["confusion"]["tn"] == everything["confusion"]["fn"] == 0


def test_bbox_aoi_and_smallest_area_are_passed_on(files: tuple[Path, Path], tmp_path: Path) -> None:
    bbox = json.loads(run(*files, "--bbox", "400000,4999990,400010,5000000", "--json")[1])
    assert sum(bbox["confusion"].values()) == 20 * 20
    area = write_layer(tmp_path / "aoi.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    aoi = json.loads(run(*files, "--aoi", area, "--json")[1])
    assert aoi["confusion"] == bbox["confusion"]
    assert json.loads(run(*files, "--min-area-m2", 10_000, "--json")[1])["buildings"] == 0


def test_the_pixel_size_between_layers_is_passed_on(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", [box(400_000, 4_999_990, 400_010, 5_000_000)])
    assert json.loads(run(layer, layer, "--gsd-m", 0.5, "--json")[1])["confusion"]["tp"] == 400


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_66(files: tuple[Path, Path], missing: int) -> None:
    files[missing].unlink()
    code, out, err = run(*files)
    assert (code, out) == (66, "")
    assert f"{files[missing]} does not exist" in err


def test_a_missing_area_of_interest_is_66(files: tuple[Path, Path], tmp_path: Path) -> None:
    code, _, err = run(*files, "--aoi", tmp_path / "none.gpkg")
    assert code == 66
    assert "none.gpkg does not exist" in err


def test_rasters_that_share_no_ground_are_65_with_both_extents(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    far = write_raster(
        tmp_path / "far.tif", np.ones((5, 5), np.uint8), transform=ORIGIN.translation(9e5, 9e5) @ ORIGIN
    )
    code, out, err = run(far, files[1])
    assert (code, out) == (65, "")
    assert "far.tif does not touch" in err
    assert "(400000, 4999955, 400035, 5000000)" in err


@pytest.mark.parametrize("option", ["--aoi", "--bbox"])
def test_ground_outside_the_raster_is_65(files: tuple[Path, Path], tmp_path: Path, option: str) -> None:
    far = write_layer(tmp_path / "aoi.gpkg", [box(0, 0, 10, 10)])
    code, _, err = run(*files, option, far if option == "--aoi" else "0,0,10,10")
    assert code == 65
    assert "does not touch the ground" in err


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "10,0,0,10", ""])
def test_a_box_that_is_none_is_2(files: tuple[Path, Path], text: str) -> None:
    code, _, err = run(*files, "--bbox", text)
    assert code == 2
    assert "--bbox" in err


def test_a_text_file_is_65(files: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.tif"
    text.write_text("not a raster", encoding="utf-8")
    code, _, err = run(files[0], text)
    assert code == 65
    assert "notes.tif" in err


def test_a_file_and_a_folder_are_65(files: tuple[Path, Path], tmp_path: Path) -> None:
    code, _, err = run(files[0], tmp_path)
    assert code == 65
    assert " hint: compare two files or two folders" in err
