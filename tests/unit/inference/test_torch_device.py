"""Devices torch lacks are refused by name, and precision follows the device."""

import pytest
import torch

from buildmap.errors import ResourceError
from buildmap.inference.torch_device import autocast_dtype, bound_vram, choose_device, is_out_of_memory


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ResourceError, match="torch finds no GPU"):
        choose_device("cuda")
    with pytest.raises(ResourceError, match=r"runs \.onnx models only"):
        choose_device("tensorrt")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (choose_device("auto"), choose_device("cuda:1")) == ("cuda:0", "cuda:1")
    with pytest.raises(ResourceError, match="torch finds 2 GPUs, the last cuda:1"):
        choose_device("cuda:2")


def test_precision_follows_what_the_gpu_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    assert autocast_dtype(gpu, "auto") == torch.bfloat16
    assert autocast_dtype(gpu, "fp32") is None
    assert autocast_dtype(gpu, "fp16") == torch.float16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert autocast_dtype(gpu, "auto") == torch.float16


def test_a_cpu_computes_in_float32_unless_asked() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype(cpu, "auto") is None
    assert autocast_dtype(cpu, "bf16") == torch.bfloat16
    with pytest.raises(ResourceError, match="precision fp16 asked for"):
        autocast_dtype(cpu, "fp16")


def test_gpu_memory_is_bounded_as_a_share_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 8 * 10**9

    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _device: shares.append(share)
    )
    bound_vram(torch.device("cuda:0"), 2 * 10**9)
    bound_vram(torch.device("cuda:0"), 10**12)
    assert shares == [0.25, 1.0]


def test_a_lack_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("expected a matrix"))
