"""Which device is taken; never another than the one asked for."""

import pytest
import torch

from buildmap.errors import MismatchError, ResourceError
from buildmap.training.device import Devices, find_devices, open_fabric


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


@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cpu:", "cuda:", "cuda:a", "cuda:0,", "gpu:1", "cuda:-1"])
def test_another_word_is_refused(device: str) -> None:
    with pytest.raises(ResourceError, match=f"no device '{device}'") as caught:
        find_devices(device)
    assert "cuda:0,1" in str(caught.value.hint)


@pytest.fixture
def _three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.usefixtures("_three_gpus")
@pytest.mark.parametrize(
    ("device", "kind", "indices", "text"),
    [
        ("auto", "cuda", (0,), "cuda:0"),
        ("cuda", "cuda", (0,), "cuda:0"),
        ("cuda:2", "cuda", (2,), "cuda:2"),
        ("cuda:2,0", "cuda", (0, 2), "cuda:0,2"),
        ("cpu", "cpu", (0,), "cpu"),
        ("cpu:2", "cpu", (0, 1), "cpu:2"),
    ],
)
def test_devices_are_taken_as_they_are_named(device: str, kind: str, indices: object, text: str) -> None:
    found = find_devices(device)
    assert (found.kind, found.indices, str(found)) == (kind, indices, text)


@pytest.mark.usefixtures("_three_gpus")
@pytest.mark.parametrize(("device", "message"), [("cuda:1,3", "3 GPUs"), ("cuda:1,1", "twice")])
def test_gpus_that_are_not_there_or_named_twice_are_refused(device: str, message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        find_devices(device)


def test_a_cpu_refuses_float16_and_says_what_it_offers() -> None:
    with pytest.raises(MismatchError, match="float16") as caught:
        open_fabric("cpu", precision="float16")
    assert "bfloat16" in str(caught.value.hint)


def test_one_device_needs_no_other_process_whatever_a_batch_queue_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "x", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    fabric = open_fabric(Devices(kind="cpu", indices=(0,)))
    assert (fabric.world_size, fabric.global_rank) == (1, 0)
