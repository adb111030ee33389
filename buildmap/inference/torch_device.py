"""What torch finds on this machine, how much of it to take, and computing there from many threads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from buildmap.contract import ModelCard
from buildmap.errors import ResourceError
from buildmap.inference.batches import out_of_memory
from buildmap.inference.devices import (
    BackendOptions,
    Precision,
    available_cores,
    choose_lanes,
    lanes_that_fit,
    split_device,
    window_bytes,
)

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_FIRST_WITH_BF16 = (8, 0)
"""Compute capability."""
_GPU_LANES = 2
"""While the network runs on one batch, the next is scaled and copied."""
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


class TorchDevice:
    """A device that networks run on; each thread computes in a stream of its own."""

    def __init__(self, options: BackendOptions) -> None:
        """Take a device.

        Raises:
            ResourceError: If it is not there, or lacks the precision.
        """
        self.name = choose_device(options.device)
        self.torch = torch.device(self.name)
        self.is_gpu = self.torch.type == "cuda"
        self._dtype = autocast_dtype(self.torch, options.precision)
        self._local = threading.local()

    def autocast(self) -> AbstractContextManager[object]:
        """Let convolutions compute in the type that was asked for."""
        return torch.autocast(self.torch.type, self._dtype, enabled=self._dtype is not None)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients, in this thread's stream.

        Raises:
            OutOfMemory: If memory is short.
        """
        try:
            with torch.inference_mode(), self._stream():
                yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            raise out_of_memory(self.name, error) from error

    def share(self, options: BackendOptions, card: ModelCard, run_empty: Callable[[int], object]) -> int:
        """Share the CPU's cores, or bound the GPU's memory; give the number of threads that may compute.

        Args:
            options: Threads, memory, precision.
            card: The network's card.
            run_empty: Runs the network on an empty image of this side.

        Raises:
            ResourceError: If memory is too short for a single one.
        """
        if self.is_gpu:
            if options.max_vram_bytes is not None:
                bound_vram(self.torch, options.max_vram_bytes)
            if options.precision == "fp32":
                torch.backends.cudnn.allow_tf32 = False
            return options.lanes or _GPU_LANES
        cores = options.threads or available_cores()
        lanes = choose_lanes(cores, options)
        if options.max_memory_bytes is not None:
            lanes = lanes_that_fit(lanes, window_bytes(run_empty, options.sized(card)), options)
        torch.set_num_threads(-(-cores // lanes))
        return lanes

    def _stream(self) -> AbstractContextManager[object]:
        if not self.is_gpu:
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.torch)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.stream)
