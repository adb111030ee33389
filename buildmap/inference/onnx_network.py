"""An ONNX model file on the device that was asked for; works without torch."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import METADATA_KEY, card_from_json
from buildmap.errors import MismatchError, ResourceError
from buildmap.inference.batches import out_of_memory
from buildmap.inference.devices import (
    BackendOptions,
    available_cores,
    choose_lanes,
    lanes_that_fit,
    window_bytes,
)
from buildmap.inference.onnx_session import REFUSALS, choose_gpu, open_on_cpu, open_on_gpu

_GPU_LANES = 2
"""One window is scaled and weighed on the CPU while the other is on the GPU."""
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory.*|std::bad_alloc|out of memory|CUDNN_STATUS_ALLOC_FAILED"
)

logger = logging.getLogger(__name__)


class OnnxNetwork:
    """A graph of one image input, on the CPU until it is moved; any thread may run it."""

    def __init__(self, model: Path, options: BackendOptions) -> None:
        """Open a model on the CPU, and learn which device it will go to.

        Args:
            model: File written by `buildmap export`.
            options: Device, threads, memory.

        Raises:
            InputError: If the file is not ONNX, or carries no model card.
            ResourceError: If onnxruntime has not been built for the device.
        """
        self._model, self._options = model, options
        self._gpu = choose_gpu(options.device)
        self._cores = options.threads or available_cores()
        self.device, self.lanes = "cpu", choose_lanes(self._cores, options)
        self._session = open_on_cpu(model, cores=self._cores, lanes=self.lanes)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = card_from_json(metadata.get(METADATA_KEY), where=str(model))
        self._input = self._session.get_inputs()[0].name

    @property
    def outputs(self) -> list[str]:
        """Names of what the graph gives."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, images: NDArray[np.float32], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """Run the graph on images (B, C, H, W); gives the outputs named, or all.

        Raises:
            OutOfMemory: If they are too many, or too large.
        """
        try:
            found: list[NDArray[Any]] = self._session.run(outputs, {self._input: images})
        except (*REFUSALS, MemoryError) as error:
            short = _OUT_OF_MEMORY.search(str(error))
            if short or isinstance(error, MemoryError):
                raise out_of_memory(self.device, short[0] if short else error) from error
            raise
        return found

    def run_small(self, outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """Run the graph once on a small empty image of the card's bands.

        Raises:
            MismatchError: If it does not take one.
        """
        side, bands = 2 * self.card.stride, len(self.card.data.bands)
        try:
            return self.run(np.zeros((1, bands, side, side), np.float32), outputs)
        except REFUSALS as error:
            told = " ".join(str(error).split())
            raise MismatchError(
                f"{self._model} does not run on {bands} bands, as its card says: {told}"
            ) from error

    def move(self, run_empty: Callable[[int], object], fill_gpu: Callable[[], None] | None = None) -> None:
        """Go to the device asked for, and fit what computes at a time to its memory.

        Where a GPU cannot be used, stay on the CPU if nobody asked for the GPU.

        Args:
            run_empty: Runs the network on an empty image of this side.
            fill_gpu: Called on a GPU, to find how much of it can be used.

        Raises:
            ResourceError: If the device cannot be used, memory is too short, or the precision is not there.
        """
        if self._gpu is not None:
            self._go_to(self._gpu, fill_gpu)
        if self.device == "cpu" and self._options.max_memory_bytes is not None:
            self._fit(window_bytes(run_empty, self._options.sized(self.card)))
        precision = self._options.precision
        if precision in {"fp16", "bf16"} and not self.device.startswith("tensorrt"):
            raise ResourceError(
                f"precision {precision} asked for, but onnxruntime on {self.device} keeps the file's",
                hint="--precision auto, a .safetensors model, or --device tensorrt",
            )

    def _go_to(self, gpu: str, fill_gpu: Callable[[], None] | None) -> None:
        on_cpu = self._session, self.device, self.lanes
        try:
            self._session = open_on_gpu(
                self._model, self.card, gpu, image_name=self._input, options=self._options
            )
            self.device, self.lanes = gpu, self._options.lanes or _GPU_LANES
            if fill_gpu is not None:
                fill_gpu()
        except ResourceError as error:
            if self._options.device != "auto":
                raise
            logger.warning("%s; going on with the CPU", error)
            self._session, self.device, self.lanes = on_cpu

    def _fit(self, lane_bytes: int) -> None:
        """Have no more lanes than memory allows, and give their cores to those that stay."""
        lanes = lanes_that_fit(self.lanes, lane_bytes, self._options)
        if lanes < self.lanes:
            self.lanes = lanes
            self._session = open_on_cpu(self._model, cores=self._cores, lanes=lanes)
