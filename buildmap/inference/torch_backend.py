"""Running a `.safetensors` model through torch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.batches import Batches, largest_batch
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.folding import fold_normalization
from buildmap.inference.torch_device import TorchDevice, choose_device
from buildmap.models.checkpoint import load_checkpoint
from buildmap.raster.blend import ONE
from buildmap.raster.normalize import pixel_scale


def open_torch(model: Path, options: BackendOptions = DEFAULTS) -> "TorchBackend":
    """Load a `.safetensors` model file onto a device.

    Raises:
        InputError: If the file is not a buildmap model.
        MismatchError: If its weights are not those of the network its card names.
        ResourceError: If the device is not there, or memory is too short.
    """
    choose_device(options.device)  # before the weights are read
    return TorchBackend(*load_checkpoint(model), options)


class TorchBackend:
    """A torch network on a device."""

    def __init__(self, network: nn.Module, card: ModelCard, options: BackendOptions = DEFAULTS) -> None:
        """Put the network on the device and find how much of it it may take.

        Args:
            network: Maps (B, C, H, W) to logits (B, 1, scale x H, scale x W); in evaluation mode, on the CPU.
            card: Its card.
            options: Device, threads, memory, precision.

        Raises:
            MismatchError: If its logits are not of the scale its card says.
            ResourceError: If memory is too short, or the device lacks the precision.
        """
        self._device = TorchDevice(options)
        self.card, self.device = card, self._device.name
        folded = fold_normalization(network, len(card.data.bands), card.stride)
        self._network = folded.to(self._device.torch).to(memory_format=torch.channels_last)
        self._batches = Batches(options.batch or 1)
        self.lanes = self._device.share(options, card, lambda side: self._run_empty(self.batch, side))
        if self._device.is_gpu and options.batch is None:
            self._fill_gpu(options.sized(card))
        self._check()

    @property
    def batch(self) -> int:
        """Windows of equal shape it likes per call."""
        return self._batches.size

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run the network on (B, C, H, W) in the raster's own numbers; gives (B, scale x H, scale x W)."""

        def run(part: NDArray[np.generic]) -> NDArray[np.float32]:
            with self._device.computing():
                return self._fetch(self._probability(part))

        return self._batches.run(run, images)

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        """Run the network, cut (rows, cols) out and weigh them; gives (B, rows, cols)."""

        def run(part: NDArray[np.generic]) -> NDArray[np.uint16]:
            with self._device.computing():
                summands = self._probability(part)[:, *cut].mul(ONE).mul_(self._send(weights))
                # Kernels for uint16 are few: the same bits travel as int16.
                return self._fetch(summands.to(torch.int32).to(torch.int16)).view(np.uint16)

        return self._batches.run(run, images)

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on normalized images (B, C, H, W); gives (B, 1, scale x H, scale x W)."""
        with self._device.computing():
            return self._fetch(self._logits(self._send(images)))

    def _probability(self, images: NDArray[np.generic]) -> Tensor:
        factor, shift = map(self._send, pixel_scale(images.dtype, self.card.data))
        if images.dtype == np.uint16:
            numbers = self._send(images.view(np.int16)).to(torch.int32) & 0xFFFF
        else:
            numbers = self._send(images)
        scaled = torch.mul(numbers, factor).sub_(shift)  # a new tensor: the caller's may not change
        return self._logits(scaled)[:, 0].sigmoid()

    def _logits(self, scaled: Tensor) -> Tensor:
        scaled = scaled.to(memory_format=torch.channels_last)
        with self._device.autocast():
            logits: Tensor = self._network(scaled)
        return logits.float()

    def _send(self, array: NDArray[np.generic]) -> Tensor:
        """Start copying to the device; the current stream waits for it, this thread does not."""
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if self._device.is_gpu:
            tensor = tensor.pin_memory()
        return tensor.to(self._device.torch, non_blocking=True)

    def _fetch(self, tensor: Tensor) -> NDArray[Any]:
        """Copy from the device, and wait until it is there."""
        if not self._device.is_gpu:
            return tensor.contiguous().numpy()
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        pinned.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self._device.torch).synchronize()
        return pinned.numpy()

    def _run_empty(self, windows: int, side: int) -> NDArray[np.float32]:
        images = np.zeros((windows, len(self.card.data.bands), side, side), self.card.data.dtype)
        with self._device.computing():
            return self._fetch(self._probability(images))

    def _check(self) -> None:
        """Run the network once on a small image."""
        side, scale = 2 * self.card.stride, self.card.scale
        rows, cols = self._run_empty(1, side).shape[1:]
        if (rows, cols) != (scale * side, scale * side):
            raise MismatchError(
                f"model '{self.card.title}' gives {rows} x {cols} for an image of {side} x {side}; "
                f"its card says scale {scale}"
            )

    def _fill_gpu(self, sized: ModelCard) -> None:
        """Find the largest batch within the GPU's memory, or within what is allowed of it."""
        self.lanes, batch = largest_batch(
            lambda windows: self._run_empty(windows, sized.window_px), sized, lanes=self.lanes
        )
        self._batches = Batches(batch)
        torch.cuda.empty_cache()  # blocks for all lanes at once, which no lane asks for
