"""Which device is taken; never another than the one asked for."""

import pytest
import torch

from buildmap.errors import ResourceError
from buildmap.training.device import open_fabric


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("_no_gpu")
def test_cuda_without_a_gpu_is_an_error_not_the_cpu() -> None:
    with pytest.raises(ResourceError, match="no GPU") as caught:
        open_fabric("cuda")
    assert caught.value.hint == "--device cpu"


@pytest.mark.usefixtures("_no_gpu")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_computes_in_single_precision(device: str) -> None:
    fabric = open_fabric(device)
    assert fabric.device.type == "cpu"
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.usefixtures("_no_gpu")
def test_a_preset_may_ask_the_cpu_for_bfloat16() -> None:
    with open_fabric("auto", precision="bfloat16").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_another_word_is_refused() -> None:
    with pytest.raises(ResourceError, match="tpu"):
        open_fabric("tpu")
