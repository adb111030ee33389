"""What torch finds on this machine, and how much of it to take."""

import torch

from buildmap.errors import ResourceError
from buildmap.inference.devices import Precision, split_device

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_FIRST_WITH_BF16 = (8, 0)
"""Compute capability."""
_MEMORY_WORDS = ("can't allocate memory", "not enough memory")


def choose_device(device: str) -> str:
    """Give the device to take, 'cpu' or 'cuda:0'.

    Raises:
        ResourceError: If it is not there.
    """
    kind, number = split_device(device)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "tensorrt":
        raise ResourceError(
            f"device {device} runs .onnx models only",
            hint="`buildmap export` the model first, or --device cuda",
        )
    if kind == "cpu" or (kind == "auto" and not found):
        return "cpu"
    if not found:
        raise ResourceError(f"device {device} asked for, but torch finds no GPU", hint="--device cpu")
    if number >= found:
        raise ResourceError(
            f"device {device} asked for, but torch finds {found} GPUs, the last cuda:{found - 1}",
            hint=f"--device cuda:{found - 1}",
        )
    return f"cuda:{number}"


def autocast_dtype(device: torch.device, precision: Precision) -> torch.dtype | None:
    """Give the type convolutions compute in, None for float32.

    Raises:
        ResourceError: If the device has not got it.
    """
    if device.type == "cpu":
        if precision == "fp16":
            raise ResourceError(
                "precision fp16 asked for, but CPUs have bf16 and fp32", hint="--precision bf16"
            )
        return _DTYPES.get(precision)
    if precision == "auto":
        return (
            torch.bfloat16 if torch.cuda.get_device_capability(device) >= _FIRST_WITH_BF16 else torch.float16
        )
    return _DTYPES.get(precision)


def bound_vram(device: torch.device, allowed_bytes: int) -> None:
    """Let this process take no more of a GPU's memory; asking for more is running out of memory."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed_bytes / total), device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch failed for want of memory, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in _MEMORY_WORDS)
