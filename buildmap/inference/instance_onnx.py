"""Running an ONNX model that finds buildings one by one, through onnxruntime; works without torch.

Its graph takes one image, (1, bands, H, W), and gives `boxes` (n, 4) and `scores` (n,), and those it has of
`masks` and `heatmaps`, (n, rows, cols) each.
"""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import METADATA_KEY, card_from_json
from buildmap.errors import MismatchError, ResourceError
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
from buildmap.inference.onnx_session import REFUSALS, choose_gpu, open_on_cpu, open_on_gpu
from buildmap.raster.normalize import scale_pixels

_GPU_LANES = 2
"""One window is scaled on the CPU while the other is on the GPU."""
_OUT_OF_MEMORY = re.compile(r"Failed to allocate memory.*|std::bad_alloc|out of memory")
_NEEDED = ("boxes", "scores")
_FURTHER = ("masks", "heatmaps")

logger = logging.getLogger(__name__)


class OnnxInstances:
    """A `.onnx` model file, loaded."""

    def __init__(self, model: Path, options: BackendOptions = DEFAULTS) -> None:
        """Load the network, and run it once.

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
        self.device, self.lanes, self.batch = "cpu", choose_lanes(cores, options), 1
        self._session = open_on_cpu(model, cores=cores, lanes=self.lanes)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = card_from_json(metadata.get(METADATA_KEY), where=str(model))
        check_model(self.card)
        self._input = self._session.get_inputs()[0].name
        self._check(model)
        if gpu is not None:
            self._move(model, gpu, options)
        if self.device == "cpu" and options.max_memory_bytes is not None:
            lanes = lanes_that_fit(self.lanes, window_bytes(self._run_empty, self.card), options)
            if lanes < self.lanes:
                self.lanes = lanes
                self._session = open_on_cpu(model, cores=cores, lanes=lanes)
        if options.precision in {"fp16", "bf16"} and not self.device.startswith("tensorrt"):
            raise ResourceError(
                f"precision {options.precision} asked for, but onnxruntime on {self.device} keeps the file's",
                hint="--precision auto, a .safetensors model, or --device tensorrt",
            )

    def detect(self, image: NDArray[np.generic]) -> Found:
        """Find buildings in an image (C, H, W) in the raster's own numbers."""
        try:
            given = self._session.run(self._outputs, {self._input: scale_pixels(image[None], self.card.data)})
        except (*REFUSALS, MemoryError) as error:
            if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
                raise out_of_memory(self.device, error) from error
            raise
        arrays: dict[str, NDArray[Any]] = dict(zip(self._outputs, given, strict=True))
        return Found(
            boxes=arrays["boxes"].astype(np.float64),
            scores=arrays["scores"].astype(np.float64),
            masks=arrays.get("masks"),
            heatmaps=arrays.get("heatmaps"),
        )

    def _run_empty(self, side: int) -> Found:
        return self.detect(np.zeros((len(self.card.data.bands), side, side), self.card.data.dtype))

    def _check(self, model: Path) -> None:
        """See that the outputs are those of such a network, and run it once on a small image."""
        has = [output.name for output in self._session.get_outputs()]
        self._outputs = [name for name in (*_NEEDED, *_FURTHER) if name in has]
        if not {*_NEEDED} <= {*self._outputs} or len(self._outputs) == len(_NEEDED):
            raise MismatchError(
                f"{model} gives {', '.join(has)}; its card says boxes, scores, and masks or heatmaps"
            )
        bands = len(self.card.data.bands)
        try:
            found = self._run_empty(2 * self.card.stride)
        except REFUSALS as error:
            told = " ".join(str(error).split())
            raise MismatchError(f"{model} does not run on {bands} bands, as its card says: {told}") from error
        count = len(found.scores)
        shapes = [array.shape for array in (found.masks, found.heatmaps) if array is not None]
        if found.boxes.shape != (count, 4) or any(len(shape) != 3 or shape[0] != count for shape in shapes):
            raise MismatchError(f"{model} gives boxes {found.boxes.shape} with {shapes} for {count} objects")

    def _move(self, model: Path, gpu: str, options: BackendOptions) -> None:
        """Go to a GPU; where that cannot be, stay on the CPU if nobody asked for the GPU."""
        try:
            self._session = open_on_gpu(model, self.card, gpu, image_name=self._input, options=options)
            self.device, self.lanes = gpu, options.lanes or _GPU_LANES
        except ResourceError as error:
            if options.device != "auto":
                raise
            logger.warning("%s; going on with the CPU", error)
