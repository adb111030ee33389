"""A torch network of objects: its file, its memory, its precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from buildmap.errors import MismatchError, ResourceError
from buildmap.inference import instance_torch
from buildmap.inference.batches import OutOfMemory
from buildmap.inference.devices import BackendOptions
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.instance_torch import TorchInstances, open_instances
from buildmap.models.instance_network import Detections, InstanceNetwork
from tests.unit.inference.instance_models import (
    BrightRectangles,
    instance_card,
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


def test_a_torch_file_is_opened_with_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def load(path: Path) -> tuple[torch.nn.Module, object]:
        loaded.append(path)
        network = BrightRectangles() if path.stem == "m" else torch.nn.Identity()
        return network, instance_card()

    monkeypatch.setattr(instance_torch, "load_checkpoint", load)
    assert isinstance(open_instances(tmp_path / "m.safetensors", CPU), InstanceBackend)
    assert loaded == [tmp_path / "m.safetensors"]
    with pytest.raises(MismatchError, match="does not find buildings one by one"):
        open_instances(tmp_path / "other.safetensors", CPU)


class Greedy(InstanceNetwork):
    """Takes memory, and more of it than there is where an image is large."""

    def detect(self, images: Tensor) -> list[Detections]:
        if images.shape[-1] > 512:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        if images.shape[-1] == 480:
            raise RuntimeError("another fault")
        torch.ones(2**24)
        return BrightRectangles().detect(images)


def test_an_image_that_does_not_fit_is_told_and_other_faults_are_not_hidden() -> None:
    backend = TorchInstances(Greedy(), instance_card(), CPU)
    with pytest.raises(OutOfMemory, match="out of memory on cpu"):
        backend.detect(np.zeros((3, 16, 1024), np.uint8))
    with pytest.raises(RuntimeError, match="another fault"):
        backend.detect(np.zeros((3, 16, 480), np.uint8))


def test_bf16_is_computed_and_given_as_ordinary_numbers(image: NDArray[np.uint8]) -> None:
    found = TorchInstances(BrightRectangles(), instance_card(), replace(CPU, precision="bf16")).detect(image)
    assert found.boxes.tolist() == [[70, 0, 80, 4], [5, 3, 20, 10], [0, 40, 10, 64]]
    assert found.masks is not None and found.masks.dtype == np.float32


def test_lanes_follow_the_memory_that_is_allowed() -> None:
    options = BackendOptions(device="cpu", threads=2)
    assert TorchInstances(BrightRectangles(), instance_card(), options).lanes == 2
    with pytest.raises(ResourceError, match="the network needs"):
        TorchInstances(Greedy(), instance_card(), replace(options, max_memory_bytes=1))
