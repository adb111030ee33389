"""ONNX export of networks that find buildings one by one: the same buildings, in images of any size."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from buildmap.errors import MismatchError
from buildmap.inference.onnx_instances import export_instances, largest_instance_difference, same_boxes
from buildmap.models import build_instances
from buildmap.models.instance_network import InstanceNetwork
from buildmap.preset import Model
from tests.models.buildings import draw, small_model
from tests.networks import make_card

EXPORTED = [
    pytest.param("fcos", "mask+keypoint", marks=pytest.mark.benchmark),
    pytest.param("fcos", "keypoint", marks=pytest.mark.benchmark),
    pytest.param("mask-rcnn", "mask+keypoint", marks=pytest.mark.benchmark),
    pytest.param("mask-rcnn", "mask", marks=pytest.mark.benchmark),
]
"""An export takes most of a minute, so all of them are left out of the plain run."""


def trained(name: str, parts: str) -> InstanceNetwork:
    """Train for some steps: fresh networks find everything a little."""
    torch.manual_seed(0)
    network = build_instances(small_model(name, parts=parts), 3).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    image, objects = draw([(12, 16, 44, 56), (53, 38, 89, 75)], 96, 96)
    for _ in range(80):
        optimizer.zero_grad()
        sum(network(image[None], [objects]).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    return network.eval()


def images() -> list[Tensor]:
    torch.manual_seed(1)
    drawn = [draw([(12, 16, 44, 56)], rows, cols)[0] for rows, cols in ((96, 96), (64, 320), (512, 512))]
    return [image[None] for image in drawn]


@pytest.mark.parametrize(("name", "parts"), EXPORTED)
def test_onnx_finds_the_buildings_that_torch_finds(name: str, parts: str, tmp_path: Path) -> None:
    network, path = trained(name, parts), tmp_path / "m.onnx"
    card = make_card(model=small_model(name, parts=parts), stride=network.stride)
    export_instances(network, card, path)
    assert largest_instance_difference(network, card, path, images()) < 1e-3
    stored = path.read_bytes()
    assert b"site-packages" not in stored  # nothing of the author's disk
    session = onnxruntime.InferenceSession(stored)
    expected = ["boxes", "scores", *["masks"] * ("mask" in parts), *["heatmaps"] * ("keypoint" in parts)]
    assert [output.name for output in session.get_outputs()] == expected
    found = session.run(None, {"image": images()[0].numpy()})
    with torch.inference_mode():
        assert 0 < len(found[0]) == len(network.detect(images()[0])[0].boxes) <= 16
    empty = session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})
    if name == "mask-rcnn":
        assert [values.shape[0] for values in empty] == [0] * len(expected)
        assert empty[2].shape == (0, 28, 28)


def test_boxes_are_the_same_to_within_a_pixel_and_each_has_one_partner_at_most() -> None:
    ours = np.array([[0, 0, 9, 9], [50, 50, 60, 60], [0.4, 0, 9, 9], [5, 5, 7, 7]], np.float32)
    theirs = np.array([[50, 50, 60, 60.9], [0.5, 0, 9, 9], [5, 5, 7, 8.1]], np.float32)
    mine, other = same_boxes(ours, theirs)
    assert list(zip(mine.tolist(), other.tolist(), strict=True)) == [(1, 0), (2, 1)]
    assert [len(places) for places in same_boxes(ours[:0], theirs)] == [0, 0]


@pytest.mark.parametrize(
    "model",
    [
        Model(name="lite"),
        Model(name="fcos", encoder="swin_s3_tiny_224", instances=small_model("fcos").instances),
    ],
)
def test_what_onnx_cannot_have_is_refused(model: Model, tmp_path: Path) -> None:
    network = build_instances(small_model("fcos"), 3)
    with pytest.raises(MismatchError, match=f"model {model.name} cannot be written as ONNX"):
        export_instances(network, make_card(model=model, stride=32), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
