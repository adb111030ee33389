"""An ONNX file of objects gives what it has, and is refused where it has something else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from buildmap.contract import METADATA_KEY, card_to_json
from buildmap.errors import MismatchError, ResourceError
from buildmap.inference.devices import BackendOptions
from buildmap.inference.instance_onnx import OnnxInstances
from tests.networks import make_card, write_onnx
from tests.unit.inference.instance_models import (
    instance_card,
    write_instances,
)

CPU = BackendOptions(device="cpu", threads=1)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    pixels = np.full((3, 64, 80), 20, np.uint8)
    pixels[:, 3:10, 5:20], pixels[:, 0:4, 70:80], pixels[:, 40:64, 0:10] = 255, 200, 140
    return pixels


@pytest.mark.parametrize("outputs", [("masks",), ("heatmaps",)])
def test_a_network_may_lack_masks_or_heat_maps(
    tmp_path: Path, image: NDArray[np.uint8], outputs: tuple[str, ...]
) -> None:
    found = OnnxInstances(write_instances(tmp_path / "m.onnx", outputs=outputs), CPU).detect(image)
    assert (found.masks is None, found.heatmaps is None) == (
        "masks" not in outputs,
        "heatmaps" not in outputs,
    )
    assert len(found.boxes) == 3


def test_an_onnx_network_of_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="gives boxes, scores; its card says boxes, scores, and masks or"):
        OnnxInstances(write_instances(tmp_path / "m.onnx", outputs=()), CPU)
    write_onnx(tmp_path / "n.onnx", instance_card())
    with pytest.raises(MismatchError, match="gives logits; its card says boxes"):
        OnnxInstances(tmp_path / "n.onnx", CPU)
    wider = instance_card(data=replace(make_card().data, bands=(1, 2, 3, 4), mean=(0.5,) * 4, std=(0.5,) * 4))
    model = onnx.load(write_instances(tmp_path / "o.onnx"))
    onnx.helper.set_model_props(model, {METADATA_KEY: card_to_json(wider)})
    onnx.save(model, tmp_path / "o.onnx")
    with pytest.raises(MismatchError, match="does not run on 4 bands"):
        OnnxInstances(tmp_path / "o.onnx", CPU)


def test_lanes_follow_the_memory_that_is_allowed(tmp_path: Path) -> None:
    path, options = write_instances(tmp_path / "m.onnx"), BackendOptions(device="cpu", threads=2)
    assert OnnxInstances(path, options).lanes == 2
    with pytest.raises(ResourceError, match="the network needs"):
        OnnxInstances(path, replace(options, max_memory_bytes=1))
