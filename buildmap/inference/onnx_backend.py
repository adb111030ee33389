"""Running an ONNX model through onnxruntime; works without torch."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import MismatchError
from buildmap.inference.batches import Batches, largest_batch, out_of_memory
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.onnx_network import OnnxNetwork
from buildmap.raster.blend import weigh
from buildmap.raster.normalize import scale_pixels


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the probability; no logit overflows."""
    probability: NDArray[np.float32] = np.clip(logits, -60, 60)
    np.negative(probability, out=probability)
    np.exp(probability, out=probability)
    probability += 1
    return np.reciprocal(probability, out=probability)


class OnnxBackend:
    """A `.onnx` model file, loaded."""

    def __init__(self, model: Path, options: BackendOptions = DEFAULTS) -> None:
        """Load the network.

        Args:
            model: File written by `buildmap export`.
            options: Device, threads, memory.

        Raises:
            InputError: If the file is not ONNX, or carries no model card.
            MismatchError: If its network is not the one its card describes.
            ResourceError: If the device is not available to onnxruntime, or memory is too short.
        """
        self._network = OnnxNetwork(model, options)
        self.card = self._network.card
        self._batches = Batches(options.batch or 1)
        self._check(model)
        sized = options.sized(self.card)
        self._network.move(
            lambda side: self._run_empty(self.batch, side),
            partial(self._fill_gpu, sized) if options.batch is None else None,
        )
        self.device, self.lanes = self._network.device, self._network.lanes

    @property
    def batch(self) -> int:
        """Windows of equal shape it likes per call."""
        return self._batches.size

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run the network on (B, C, H, W) in the raster's own numbers; gives (B, scale x H, scale x W)."""
        return self._batches.run(lambda part: sigmoid(self._scaled_logits(part)), images)

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        """Run the network, cut (rows, cols) out and weigh them; gives (B, rows, cols)."""
        return self._batches.run(
            lambda part: weigh(sigmoid(self._scaled_logits(part)[:, *cut]), weights), images
        )

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on normalized images (B, C, H, W); gives (B, 1, scale x H, scale x W).

        Raises:
            OutOfMemory: If they are too many, or too large.
        """
        logits: NDArray[np.float32] = self._network.run(images)[0]
        return logits

    def _scaled_logits(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            scaled = scale_pixels(images, self.card.data)
        except MemoryError as error:
            raise out_of_memory("cpu", error) from error
        return self.logits(scaled)[:, 0]

    def _run_empty(self, windows: int, side: int) -> None:
        self._scaled_logits(np.zeros((windows, len(self.card.data.bands), side, side), self.card.data.dtype))

    def _check(self, model: Path) -> None:
        """Run the network once on a small image."""
        side, bands = 2 * self.card.stride, len(self.card.data.bands)
        found = self._network.run_small()[0].shape
        expected = (1, 1, self.card.scale * side, self.card.scale * side)
        if found != expected:
            raise MismatchError(
                f"{model} gives {found} for an image of {bands} x {side} x {side}; "
                f"its card says scale {self.card.scale}, so {expected}"
            )

    def _fill_gpu(self, sized: ModelCard) -> None:
        """Find the largest batch within the memory of a GPU; TensorRT would build an engine for each."""
        if self._network.device.startswith("cuda"):
            self._network.lanes, batch = largest_batch(
                lambda windows: self._run_empty(windows, sized.window_px),
                sized,
                lanes=self._network.lanes,
            )
            self._batches = Batches(batch)
