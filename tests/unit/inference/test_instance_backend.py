"""Both programs give what the network gives; what does not fit is refused with both sides."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from buildmap.errors import InputError, MismatchError, MissingInput, ResourceError
from buildmap.inference.backend import load_backend, open_models
from buildmap.inference.devices import BackendOptions
from buildmap.inference.instance_backend import Found, InstanceBackend
from buildmap.inference.instance_onnx import OnnxInstances
from buildmap.inference.instance_torch import TorchInstances
from buildmap.inference.onnx_backend import OnnxBackend
from tests.networks import write_onnx
from tests.unit.inference.instance_models import (
    SIDE,
    BrightRectangles,
    corner_heat,
    instance_card,
    write_instances,
)

CPU = BackendOptions(device="cpu", threads=1)


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    pixels = np.full((3, 64, 80), 20, np.uint8)
    pixels[:, 3:10, 5:20], pixels[:, 0:4, 70:80], pixels[:, 40:64, 0:10] = 255, 200, 140
    return pixels


@pytest.fixture(params=["onnx", "torch"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> InstanceBackend:
    if request.param == "onnx":
        return OnnxInstances(write_instances(tmp_path / "m.onnx"), CPU)
    return TorchInstances(BrightRectangles().eval(), instance_card(), CPU)


def test_what_the_network_finds_is_given_as_it_is(backend: InstanceBackend, image: NDArray[np.uint8]) -> None:
    found = backend.detect(image)
    assert found.boxes.tolist() == [[70, 0, 80, 4], [5, 3, 20, 10], [0, 40, 10, 64]]
    level = (np.array([200, 255, 140]) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-level)), atol=1e-6)
    assert found.masks is not None and found.heatmaps is not None
    np.testing.assert_array_equal(found.masks, np.ones((3, SIDE, SIDE)))
    np.testing.assert_array_equal(found.heatmaps, corner_heat().repeat(3, axis=0))
    assert (found.boxes.dtype, found.scores.dtype) == (np.float64, np.float64)
    assert backend.batch == 1
    assert backend.device == "cpu"


def test_nothing_found_has_the_shapes_of_nothing(backend: InstanceBackend, image: NDArray[np.uint8]) -> None:
    found = backend.detect(np.full_like(image, 20))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.masks is not None and found.masks.shape == (0, SIDE, SIDE)


def test_threads_that_ask_at_once_get_the_same(backend: InstanceBackend, image: NDArray[np.uint8]) -> None:
    images = [np.roll(image, shift, axis=2) for shift in range(12)]
    alone = [backend.detect(one).boxes.tolist() for one in images]
    with ThreadPoolExecutor(4) as lanes:
        assert [found.boxes.tolist() for found in lanes.map(backend.detect, images)] == alone


def test_some_of_what_was_found_can_be_taken() -> None:
    found = Found(boxes=np.arange(12.0).reshape(3, 4), scores=np.arange(3.0), masks=None, heatmaps=None)
    some = found.take(np.array([2, 0]))
    assert (some.scores.tolist(), some.boxes[:, 0].tolist(), some.masks) == ([2, 0], [8, 0], None)


def test_a_scale_is_refused(tmp_path: Path) -> None:
    card = instance_card(scale=2)
    with pytest.raises(MismatchError, match="finds objects at scale 2"):
        OnnxInstances(write_instances(tmp_path / "m.onnx", card), CPU)
    with pytest.raises(MismatchError, match="finds objects at scale 2"):
        TorchInstances(BrightRectangles(), card, CPU)


def test_models_are_opened_as_what_they_are(tmp_path: Path) -> None:
    both = write_instances(tmp_path / "i.onnx"), write_onnx(tmp_path / "p.onnx")
    assert isinstance(open_models((both[0],), CPU), OnnxInstances)
    assert isinstance(open_models((both[1],), CPU), OnnxBackend)
    assert not isinstance(open_models((both[1],), CPU), InstanceBackend)
    with pytest.raises(MismatchError, match=r"i\.onnx finds buildings one by one and gives no probability"):
        load_backend(both[0], CPU)
    with pytest.raises(InputError, match="--tta flips averages probability"):
        open_models((both[0],), replace(CPU, tta="flips"))
    with pytest.raises(MissingInput, match="does not exist"):
        open_models((tmp_path / "none.onnx",), CPU)
    with pytest.raises(ResourceError, match="precision bf16 asked for"):
        open_models((both[0],), replace(CPU, precision="bf16"))
