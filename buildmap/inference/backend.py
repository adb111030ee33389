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


class Backend(Protocol):
    """A loaded model."""

    card: ModelCard
    device: str

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            images: (B, C, H, W), normalized; H and W multiples of the card's stride.

        Returns:
            (B, 1, H, W).
        """


def builtin_model() -> Path:
    """Find the model that is shipped in the package."""
    return Path(str(resources.files("buildmap"))) / "weights" / "lite.onnx"


def load_backend(model: Path, *, device: str = "auto") -> Backend:
    """Load a model file: `.onnx` through onnxruntime, `.safetensors` through torch.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is not a buildmap model.
        ResourceError: If the device, or torch, is not there.
    """
    if not model.is_file():
        raise MissingInput(f"model {model} {'is not a file' if model.exists() else 'does not exist'}")
    if not os.access(model, os.R_OK):
        raise MissingInput(f"model {model} is not readable")
    if model.suffix == ".onnx":
        from buildmap.inference.onnx_backend import OnnxBackend

        return OnnxBackend(model, device=device)
    if model.suffix == ".safetensors":
        if find_spec("torch") is None:
            raise ResourceError(
                f"{model} needs torch, which is not installed",
                hint="pip install 'buildmap[torch]', or export the model to .onnx where torch is",
            )
        from buildmap.inference.torch_backend import TorchBackend

        return TorchBackend(model, device=device)
    raise InputError(f"{model} is not a buildmap model", hint="models end in .onnx or .safetensors")
