"""Models as Items: what a program needs to run one without us."""

from dataclasses import replace

import numpy as np
import pytest

from buildmap.contract import ModelCard
from buildmap.preset import Instances
from buildmap.raster.normalize import scale_pixels
from buildmap.stac.model_item import ModelFile, model_item
from tests.networks import make_card
from tests.stac_rules import check_extensions, check_item, check_model_item

FILE = ModelFile(name="m.onnx", size_bytes=900, sha256="ab" * 32, parameters=12, weights_bytes=48)


def finder(parts: str) -> ModelCard:
    card = make_card()
    return replace(card, model=replace(card.model, name="mask-rcnn", instances=Instances(parts=parts)))  # type: ignore[arg-type]


CARDS = {
    "pixels": make_card(),
    "finer": make_card(scale=4, classes=("roof, flat",), license="Ask the author."),
    "masks": finder("mask"),
    "vertices": finder("keypoint"),
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("name", ["m.onnx", "two words.safetensors"])
def test_items_keep_the_rules(card: ModelCard, name: str) -> None:
    item = model_item(card, replace(FILE, name=name))
    check_item(item)
    check_model_item(item)
    assert item == model_item(card, replace(FILE, name=name))


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_items_keep_the_rules_of_the_extensions(card: ModelCard) -> None:
    check_extensions(model_item(card, FILE))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_scaling_told_is_the_scaling_done(dtype: str) -> None:
    data = replace(make_card().data, dtype=dtype, mean=(0.1, 0.45, 0.7), std=(0.2, 0.25, 0.31))
    (image,) = model_item(make_card(data=data), FILE)["properties"]["mlm:input"]
    mean, std = (
        np.array([scaling[name] for scaling in image["value_scaling"]]) for name in ("mean", "stddev")
    )
    pixels = np.arange(0, 120, 10).reshape(3, 2, 2).astype(dtype)
    expected = (pixels - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(scale_pixels(pixels, data), expected, rtol=1e-4, atol=1e-4)


def test_the_file_is_told_by_name_size_and_hash() -> None:
    (asset,) = model_item(make_card(), FILE)["assets"].values()
    assert asset["href"] == "./m.onnx"
    assert asset["file:size"] == 900
    assert asset["file:checksum"] == "1220" + "ab" * 32  # SHA2-256, 32 bytes: multihash
    assert asset["mlm:artifact_type"] == "onnx"


def test_classes_begin_with_the_background() -> None:
    (output,) = model_item(CARDS["finer"], FILE)["properties"]["mlm:output"]
    assert [(one["value"], one["name"], one["description"]) for one in output["classification:classes"]] == [
        (0, "background", "background"),
        (1, "roof-flat", "roof, flat"),
    ]
    assert "4 pixels for one" in output["description"]


def test_a_licence_that_is_a_sentence_is_another() -> None:
    assert model_item(CARDS["finer"], FILE)["properties"]["license"] == "other"
    assert model_item(CARDS["pixels"], FILE)["properties"]["license"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ("mask", ["boxes", "scores", "masks"]),
        ("keypoint", ["boxes", "scores", "heatmaps"]),
        ("mask+keypoint", ["boxes", "scores", "masks", "heatmaps"]),
    ],
)
def test_a_network_that_finds_buildings_tells_of_all_it_gives(parts: str, names: list[str]) -> None:
    told = model_item(finder(parts), FILE)["properties"]
    assert [output["name"] for output in told["mlm:output"]] == names
    assert told["mlm:tasks"] == ["instance-segmentation", "object-detection"]
    assert told["mlm:input"][0]["input"]["shape"] == [1, 3, -1, -1]
