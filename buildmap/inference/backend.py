"""What runs a network, and which program does it, whether it gives probability or finds buildings."""

import os
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from buildmap.contract import ModelCard
from buildmap.errors import InputError, MismatchError, MissingInput, ResourceError
from buildmap.inference.devices import DEFAULTS, BackendOptions
from buildmap.inference.ensemble import Ensemble
from buildmap.inference.instance_backend import InstanceBackend, check_options
from buildmap.inference.model_files import read_card

__all__ = ["Backend", "BackendOptions", "builtin_model", "load_backend", "open_models"]


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


def open_models(models: tuple[Path, ...], options: BackendOptions = DEFAULTS) -> Backend | InstanceBackend:
    """Load what gives probability, by `load_backend`, or one model that finds buildings one by one.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model, or options are not for it.
        MismatchError: As `load_backend`; or if a model that finds buildings is not alone.
        ResourceError: If the device, or torch, is not there, or memory is too short.
    """
    card = _peek(models[0])
    if card is None or card.model.instances is None:
        return load_backend(models, options)
    check_options(models, options)
    if models[0].suffix.lower() == ".onnx":
        from buildmap.inference.instance_onnx import OnnxInstances

        return OnnxInstances(models[0], options)
    _need_torch(models[0])
    from buildmap.inference.instance_torch import open_instances

    return open_instances(models[0], options)


def load_backend(models: Path | tuple[Path, ...], options: BackendOptions = DEFAULTS) -> Backend:
    """Load a model file, or several whose probabilities are averaged.

    `.onnx` runs through onnxruntime, `.safetensors` through torch.

    Args:
        models: Model files.
        options: Device, precision, symmetries, threads and memory.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model.
        MismatchError: If the models do not fit each other, or one not its own card, or one finds buildings
            one by one.
        ResourceError: If the device, or torch, is not there, or memory is too short.
    """
    paths = (models,) if isinstance(models, Path) else models
    backends = tuple(_load(path, options.share(len(paths))) for path in paths)
    if len(backends) == 1 and options.tta == "none":
        return backends[0]
    return Ensemble(backends, tta=options.tta)


def _load(model: Path, options: BackendOptions) -> Backend:
    card = _peek(model)
    if card is not None and len(card.classes) != 1:
        raise MismatchError(
            f"{model.name} gives {', '.join(card.classes)} and no building: it is no model to predict with",
            hint="a generator of maps is for `--set pretrain.generator=FILE` of train",
        )
    if card is not None and card.model.instances is not None:
        raise MismatchError(
            f"{model.name} finds buildings one by one and gives no probability",
            hint="predict with it alone, into a layer: OUTPUT.gpkg",
        )
    if model.suffix.lower() == ".onnx":
        from buildmap.inference.onnx_backend import OnnxBackend

        return OnnxBackend(model, options)
    _need_torch(model)
    from buildmap.inference.torch_backend import open_torch

    return open_torch(model, options)


def _peek(model: Path) -> ModelCard | None:
    """Read the card of a model file, before anything heavy is loaded; None if it has none.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is of another kind, or its card is none.
        MismatchError: If its card does not fit this version's fields.
    """
    if not model.is_file():
        raise MissingInput(f"model {model} {'is not a file' if model.exists() else 'does not exist'}")
    if not os.access(model, os.R_OK):
        raise MissingInput(f"model {model} is not readable")
    if model.suffix.lower() not in {".onnx", ".safetensors"}:
        raise InputError(f"{model} is not a buildmap model", hint="models end in .onnx or .safetensors")
    return read_card(model)


def _need_torch(model: Path) -> None:
    if find_spec("torch") is None:
        raise ResourceError(
            f"{model} needs torch, which is not installed",
            hint="pip install 'buildmap[torch]', or export the model to .onnx where torch is",
        )
