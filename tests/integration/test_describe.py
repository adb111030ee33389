"""`buildmap describe` tells of what the other verbs have written."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from buildmap.cli.app import app
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster
from tests.stac_rules import check_extensions, check_item, check_model_item


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a model, and a raster and a layer predicted with it."""
    folder = tmp_path_factory.mktemp("described")
    write_onnx(folder / "m.onnx", make_card(title="über 建物"))
    pixels = np.zeros((3, 128, 128), np.uint8)
    pixels[:, 20:60, 30:80] = 255
    with rasterio.open(write_raster(folder / "in.tif", pixels), "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2024:06:30 10:00:00")
    for name in ("out.tif", "out.gpkg"):
        run("predict", folder / "in.tif", folder / name, "--model", folder / "m.onnx", "-q")
    return folder


def test_a_table_tells_of_a_layer(folder: Path) -> None:
    lines = [line.split() for line in run("describe", folder / "out.gpkg").splitlines()]
    assert ["kind", "layer"] in lines
    assert ["count", "1"] in lines
    assert ["first", "date", "2024-06-30"] in lines
    assert ["source", "in.tif"] in lines


def test_json_tells_what_made_a_map(folder: Path) -> None:
    told = json.loads(run("describe", folder / "out.tif", "--json"))
    assert told["made"]["verb"] == "predict"
    assert told["made"]["source"] == "in.tif"
    assert told["made"]["model"].startswith("über 建物 [")
    assert (told["width_px"], told["height_px"]) == (128, 128)


@pytest.mark.parametrize("name", ["m.onnx", "out.tif", "out.gpkg"])
def test_stac_keeps_its_rules(folder: Path, name: str) -> None:
    text = run("describe", folder / name, "--stac")
    assert text == run("describe", folder / name, "--stac")
    item = json.loads(text)
    check_item(item)
    if name == "m.onnx":
        check_model_item(item)
        assert item["properties"]["title"] == "über 建物"
    else:
        assert item["properties"]["datetime"] == "2024-06-30T00:00:00Z"


@pytest.mark.parametrize("name", ["m.onnx", "out.tif", "out.gpkg"])
def test_stac_keeps_the_rules_of_its_extensions(folder: Path, name: str) -> None:
    check_extensions(json.loads(run("describe", folder / name, "--stac")))


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("none.tif", 66, "none.tif does not exist"),
        ("in.tif", 65, "in.tif was not made by buildmap: it has no tag BUILDMAP"),
    ],
)
def test_errors_are_two_lines(folder: Path, name: str, code: int, told: str) -> None:
    result = CliRunner().invoke(app, ["describe", str(folder / name)])
    assert result.exit_code == code
    first, second = result.stderr.splitlines()
    assert first == f"error: {folder}/{told}"
    assert second.startswith(" hint: ")
    assert result.stdout == ""


def test_two_answers_at_once_are_a_usage_error(folder: Path) -> None:
    result = CliRunner().invoke(app, ["describe", str(folder / "out.tif"), "--json", "--stac"])
    assert result.exit_code == 2
    assert "leave one out" in result.stderr
