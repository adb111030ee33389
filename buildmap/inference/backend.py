"""What runs a network, and which program does it."""

import os
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MissingInput, ResourceError
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.ensemble import Ensemble

__all__ = ["Backend", "BackendOptions", "builtin_model", "load_backend"]


class Backend(Protocol):
    """A loaded model. Its probabilities do not depend on threads, nor on the lane that asks."""

    card: ModelCard
    device: str
    """What runs it: 'cpu', 'cuda:0'."""
    lanes: int
    """Threads that may call it at the same time with profit."""

    @property
    def batch(self) -> int:
        """Windows of equal shape it likes per call; shrinks when a device runs out of memory."""

    def probability(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            images: (B, C, H, W) in the raster's own numbers, invalid pixels filled; H and W multiples of
                the card's stride.

        Returns:
            (B, rows, cols): H and W times the card's scale.

        Raises:
            ResourceError: If a single image does not fit the device's memory.
        """

    def contributions(
        self, images: NDArray[np.generic], cut: tuple[slice, slice], weights: NDArray[np.float32]
    ) -> NDArray[np.uint16]:
        """Run the network and give the blend's summands; only they leave the device.

        Args:
            images: As for `probability`.
            cut: Predicted rows and columns that have a weight.
            weights: (rows, cols) of the cut.

        Returns:
            (B, rows, cols), as `buildmap.raster.blend.weigh`.

        Raises:
            ResourceError: If a single image does not fit the device's memory.
        """


def builtin_model() -> Path:
    """Find the model that is shipped in the package."""
    return Path(str(resources.files("buildmap"))) / "weights" / "lite.onnx"


def load_backend(models: Path | tuple[Path, ...], options: BackendOptions = DEFAULTS) -> Backend:
    """Load a model file, or several whose probabilities are averaged.

    `.onnx` runs through onnxruntime, `.safetensors` through torch.

    Args:
        models: Model files.
        options: Device, precision, symmetries, threads and memory.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model.
        MismatchError: If the models do not fit each other, or one not its own card.
        ResourceError: If the device, or torch, is not there, or memory is too short.
    """
    paths = (models,) if isinstance(models, Path) else models
    backends = tuple(_load(path, options.share(len(paths))) for path in paths)
    if len(backends) == 1 and options.tta == "none":
        return backends[0]
    return Ensemble(backends, tta=options.tta)


def _load(model: Path, options: BackendOptions) -> Backend:
    if not model.is_file():
        raise MissingInput(f"model {model} {'is not a file' if model.exists() else 'does not exist'}")
    if not os.access(model, os.R_OK):
        raise MissingInput(f"model {model} is not readable")
    if model.suffix == ".onnx":
        from buildmap.inference.onnx_backend import OnnxBackend

        return OnnxBackend(model, options)
    if model.suffix == ".safetensors":
        if find_spec("torch") is None:
            raise ResourceError(
                f"{model} needs torch, which is not installed",
                hint="pip install 'buildmap[torch]', or export the model to .onnx where torch is",
            )
        from buildmap.inference.torch_backend import open_torch

        return open_torch(model, options)
    raise InputError(f"{model} is not a buildmap model", hint="models end in .onnx or .safetensors")
