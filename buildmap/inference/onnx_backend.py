"""Running an ONNX model through onnxruntime; works without torch."""

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import METADATA_KEY, card_from_json
from buildmap.errors import MismatchError, ResourceError
from buildmap.inference.batches import Batches, largest_batch, out_of_memory
from buildmap.inference.devices import (
    DEFAULTS,
    BackendOptions,
    available_cores,
    choose_lanes,
    lanes_that_fit,
    window_bytes,
)
from buildmap.inference.onnx_session import REFUSALS, choose_gpu, open_on_cpu, open_on_gpu
from buildmap.raster.blend import weigh
from buildmap.raster.normalize import scale_pixels

_GPU_LANES = 2
"""One window is scaled and weighed on the CPU while the other is on the GPU."""
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory.*|std::bad_alloc|out of memory|CUDNN_STATUS_ALLOC_FAILED"
)

logger = logging.getLogger(__name__)


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
        gpu = choose_gpu(options.device)
        cores = options.threads or available_cores()
        self.device, self.lanes = "cpu", choose_lanes(cores, options)
        self._session = open_on_cpu(model, cores=cores, lanes=self.lanes)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = card_from_json(metadata.get(METADATA_KEY), where=str(model))
        self._input = self._session.get_inputs()[0].name
        self._batches = Batches(options.batch or 1)
        self._check(model)
        if gpu is not None:
            self._move(model, gpu, options)
        if self.device == "cpu":
            self._fit(model, cores, options)
        if options.precision in {"fp16", "bf16"} and not self.device.startswith("tensorrt"):
            raise ResourceError(
                f"precision {options.precision} asked for, but onnxruntime on {self.device} keeps the file's",
                hint="--precision auto, a .safetensors model, or --device tensorrt",
            )

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
        try:
            output: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        except REFUSALS as error:
            if found := _OUT_OF_MEMORY.search(str(error)):
                raise out_of_memory(self.device, found[0]) from error
            raise
        return output

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
        try:
            found = self.logits(np.zeros((1, bands, side, side), np.float32)).shape
        except REFUSALS as error:
            told = " ".join(str(error).split())
            raise MismatchError(f"{model} does not run on {bands} bands, as its card says: {told}") from error
        expected = (1, 1, self.card.scale * side, self.card.scale * side)
        if found != expected:
            raise MismatchError(
                f"{model} gives {found} for an image of {bands} x {side} x {side}; "
                f"its card says scale {self.card.scale}, so {expected}"
            )

    def _move(self, model: Path, gpu: str, options: BackendOptions) -> None:
        """Go to a GPU; where that cannot be, stay on the CPU if nobody asked for the GPU."""
        on_cpu = self._session, self.device, self.lanes
        try:
            self._session = open_on_gpu(model, self.card, gpu, image_name=self._input, options=options)
            self.device, self.lanes = gpu, options.lanes or _GPU_LANES
            if options.batch is None and gpu.startswith("cuda"):
                self.lanes, batch = largest_batch(
                    lambda windows: self._run_empty(windows, self.card.window_px), self.card, lanes=self.lanes
                )
                self._batches = Batches(batch)
        except ResourceError as error:
            if options.device != "auto":
                raise
            logger.warning("%s; going on with the CPU", error)
            self._session, self.device, self.lanes = on_cpu

    def _fit(self, model: Path, cores: int, options: BackendOptions) -> None:
        """Have no more lanes than memory allows, and give their cores to those that stay."""
        if options.max_memory_bytes is None:
            return
        lane_bytes = window_bytes(lambda side: self._run_empty(self.batch, side), self.card)
        lanes = lanes_that_fit(self.lanes, lane_bytes, options)
        if lanes < self.lanes:
            self.lanes = lanes
            self._session = open_on_cpu(model, cores=cores, lanes=lanes)
