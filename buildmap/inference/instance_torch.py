"""Running a `.safetensors` model that finds buildings one by one, through torch."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.batches import out_of_memory
from buildmap.inference.devices import (
    DEFAULTS,
    BackendOptions,
    available_cores,
    choose_lanes,
    lanes_that_fit,
    window_bytes,
)
from buildmap.inference.instance_backend import Found, check_model
from buildmap.inference.torch_device import autocast_dtype, bound_vram, choose_device, is_out_of_memory
from buildmap.models.checkpoint import load_checkpoint
from buildmap.models.instance_network import InstanceNetwork
from buildmap.raster.normalize import scale_pixels

_GPU_LANES = 2
"""While the network looks at one window, the next is scaled and copied."""


def open_instances(model: Path, options: BackendOptions = DEFAULTS) -> "TorchInstances":
    """Load a `.safetensors` model file onto a device.

    Raises:
        InputError: If the file is not a buildmap model.
        MismatchError: If its weights are not those of the network its card names.
        ResourceError: If the device is not there, or memory is too short.
    """
    choose_device(options.device)  # before the weights are read
    network, card = load_checkpoint(model)
    if not isinstance(network, InstanceNetwork):
        raise MismatchError(f"{model}: model {card.model.name} does not find buildings one by one")
    return TorchInstances(network, card, options)


class TorchInstances:
    """A torch network on a device; every call looks at one window."""

    def __init__(self, network: InstanceNetwork, card: ModelCard, options: BackendOptions = DEFAULTS) -> None:
        """Put the network on the device, and run it once.

        Args:
            network: In evaluation mode, on the CPU.
            card: Its card.
            options: Device, threads, memory, precision.

        Raises:
            MismatchError: If the card is not that of such a network.
            ResourceError: If memory is too short, or the device lacks the precision.
        """
        check_model(card)
        self.card, self.device, self.batch = card, choose_device(options.device), 1
        self._device = torch.device(self.device)
        self._dtype = autocast_dtype(self._device, options.precision)
        self._network = network.to(self._device)
        self._local = threading.local()
        if self._device.type == "cuda":
            self._fit_gpu(options)
        else:
            self._fit_cpu(options)
        self._run_empty(2 * card.stride)  # what the network keeps from its first image is there for all lanes

    def detect(self, image: NDArray[np.generic]) -> Found:
        """Find buildings in an image (C, H, W) in the raster's own numbers."""
        scaled = scale_pixels(image[None], self.card.data)
        with self._on_device():
            tensor = torch.from_numpy(scaled).to(self._device)
            with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
                (found,) = self._network.detect(tensor)
            return Found(
                boxes=_fetch(found.boxes, torch.float64),
                scores=_fetch(found.scores, torch.float64),
                masks=None if found.masks is None else _fetch(found.masks, torch.float32),
                heatmaps=None if found.heatmaps is None else _fetch(found.heatmaps, torch.float32),
            )

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Compute without gradients, in a stream of this thread's own; tell when memory is short."""
        try:
            with torch.inference_mode(), self._stream():
                yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            raise out_of_memory(self.device, error) from error

    def _stream(self) -> Any:
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.stream)

    def _run_empty(self, side: int) -> None:
        self.detect(np.zeros((len(self.card.data.bands), side, side), self.card.data.dtype))

    def _fit_cpu(self, options: BackendOptions) -> None:
        """Share the cores among the lanes that memory allows."""
        cores = options.threads or available_cores()
        self.lanes = choose_lanes(cores, options)
        if options.max_memory_bytes is not None:
            self.lanes = lanes_that_fit(self.lanes, window_bytes(self._run_empty, self.card), options)
        torch.set_num_threads(-(-cores // self.lanes))

    def _fit_gpu(self, options: BackendOptions) -> None:
        if options.max_vram_bytes is not None:
            bound_vram(self._device, options.max_vram_bytes)
        if options.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False
        self.lanes = options.lanes or _GPU_LANES


def _fetch(tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """Copy from the device, and wait until it is there."""
    return tensor.to("cpu", dtype).contiguous().numpy()
