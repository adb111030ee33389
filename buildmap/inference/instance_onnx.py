"""Running an ONNX model that finds buildings one by one, through onnxruntime; works without torch.

Its graph takes one image, (1, bands, H, W), and gives `boxes` (n, 4) and `scores` (n,), and those it has of
`masks` and `heatmaps`, (n, rows, cols) each.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import MismatchError
from buildmap.inference.batches import out_of_memory
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.instance_backend import Found, check_model
from buildmap.inference.onnx_network import OnnxNetwork
from buildmap.raster.normalize import scale_pixels

_NEEDED = ("boxes", "scores")
_FURTHER = ("masks", "heatmaps")


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
        self._network = OnnxNetwork(model, options)
        self.card, self.batch = self._network.card, 1
        check_model(self.card)
        self._check(model)
        self._network.move(self._run_empty)
        self.device, self.lanes = self._network.device, self._network.lanes

    def detect(self, image: NDArray[np.generic]) -> Found:
        """Find buildings in an image (C, H, W) in the raster's own numbers."""
        try:
            scaled = scale_pixels(image[None], self.card.data)
        except MemoryError as error:
            raise out_of_memory("cpu", error) from error
        return self._found(self._network.run(scaled, self._outputs))

    def _found(self, given: list[NDArray[Any]]) -> Found:
        arrays = dict(zip(self._outputs, given, strict=True))
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
        has = self._network.outputs
        self._outputs = [name for name in (*_NEEDED, *_FURTHER) if name in has]
        if not {*_NEEDED} <= {*self._outputs} or len(self._outputs) == len(_NEEDED):
            raise MismatchError(
                f"{model} gives {', '.join(has)}; its card says boxes, scores, and masks or heatmaps"
            )
        found = self._found(self._network.run_small(self._outputs))
        count = len(found.scores)
        shapes = [array.shape for array in (found.masks, found.heatmaps) if array is not None]
        if found.boxes.shape != (count, 4) or any(len(shape) != 3 or shape[0] != count for shape in shapes):
            raise MismatchError(f"{model} gives boxes {found.boxes.shape} with {shapes} for {count} objects")
