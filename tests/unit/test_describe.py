"""What a file of ours is, told by the file alone."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from buildmap.describe import (
    LayerDescription,
    ModelDescription,
    RasterDescription,
    describe,
    describe_as_stac,
)
from buildmap.errors import InputError, MismatchError, MissingInput
from buildmap.provenance import Provenance
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster
from tests.stac_rules import check_item, check_model_item
from tests.unit.vector.test_about import MADE, write_footprints


def write_map(path: Path, made: str | None) -> Path:
    write_raster(path, np.zeros((200, 400), np.uint8), nodata=255)
    if made is not None:
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(BUILDMAP=made)
    return path


def test_a_model_is_its_card_and_its_file(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "M.ONNX", card := make_card(), kernel_px=3)
    told = describe(path)
    assert isinstance(told, ModelDescription)
    assert (told.title, told.finds, told.classes) == (card.title, "pixels", ("building",))
    assert (told.parameters, told.weights_bytes) == (27, 108)
    assert told.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told.size_bytes == path.stat().st_size
    item = describe_as_stac(path)
    check_item(item)
    check_model_item(item)
    assert item["properties"]["mlm:total_parameters"] == 27


def test_a_raster_is_what_its_tags_say(tmp_path: Path) -> None:
    path = write_map(tmp_path / "out.tif", MADE.to_json())
    told = describe(path)
    assert isinstance(told, RasterDescription)
    assert told.made == MADE
    assert (told.width_px, told.height_px, told.dtype, told.crs) == (400, 200, "uint8", "EPSG:32633")
    assert told.bounds == (400_000, 4_999_900, 400_200, 5_000_000)
    assert told.pixel_m == pytest.approx((0.5, 0.5), rel=1e-3)
    assert told.degrees == pytest.approx((13.728, 45.1455, 13.7306, 45.1464), abs=1e-4)
    assert describe_as_stac(path)["bbox"] == list(told.degrees or ())


def test_a_layer_is_what_its_metadata_say(tmp_path: Path) -> None:
    told = describe(write_footprints(tmp_path / "out.gpkg"))
    assert isinstance(told, LayerDescription)
    assert told.made == MADE
    assert (told.count, told.layer, told.other_layers) == (3, "footprints", ("valid",))
    assert (told.first_date, told.last_date) == ("2023-01-02", "2024-06-30")
    assert told.crs == "EPSG:32633"


def test_a_layer_of_ours_that_cannot_say_so_is_known_by_its_columns(tmp_path: Path) -> None:
    told = describe(write_footprints(tmp_path / "out.geojsonl"))
    assert isinstance(told, LayerDescription)
    assert (told.made, told.count) == (None, 3)


def test_an_item_does_not_follow_the_folder_or_the_clock(tmp_path: Path) -> None:
    path = write_map(tmp_path / "out.tif", MADE.to_json())
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copyfile(path, tmp_path / "elsewhere" / "out.tif"))
    assert json.dumps(describe_as_stac(path)) == json.dumps(describe_as_stac(copy))


@pytest.mark.parametrize("name", ["none.onnx", "none.tif", "none.gpkg", "none"])
def test_what_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingInput, match="does not exist") as refusal:
        describe(tmp_path / name)
    assert refusal.value.hint


@pytest.mark.parametrize("name", ["text.onnx", "text.safetensors", "text.tif", "text.gpkg", "text"])
def test_what_is_not_ours_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("some text")
    with pytest.raises(InputError, match=name) as refusal:
        describe(tmp_path / name)
    assert refusal.value.hint


@pytest.mark.parametrize("made", [None, "not json", "[1]"])
def test_a_raster_of_others_is_refused(tmp_path: Path, made: str | None) -> None:
    with pytest.raises(InputError, match="was not made by buildmap") as refusal:
        describe(write_map(tmp_path / "out.tif", made))
    assert refusal.value.hint


def test_a_layer_of_others_is_refused(tmp_path: Path) -> None:
    text = '{"type": "Feature", "properties": {"area_m2": 1}, "geometry": null}\n'
    (tmp_path / "a.geojsonl").write_text(text)
    with pytest.raises(InputError, match="its columns are others"):
        describe(tmp_path / "a.geojsonl")


def test_what_another_version_says_is_a_mismatch(tmp_path: Path) -> None:
    made = json.loads(replace(MADE, verb="predict").to_json()) | {"weather": "fine"}
    with pytest.raises(MismatchError, match="weather") as refusal:
        describe(write_map(tmp_path / "out.tif", json.dumps(made)))
    assert "another version" in str(refusal.value.hint)


def test_a_map_without_a_crs_lies_nowhere(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "out.tif", np.zeros((4, 5), np.uint8), crs=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(BUILDMAP=Provenance(verb="x", source="", source_fingerprint="").to_json())
    told = describe(path)
    assert isinstance(told, RasterDescription)
    assert (told.crs, told.degrees, told.pixel_m) == (None, None, None)
    check_item(describe_as_stac(path))
