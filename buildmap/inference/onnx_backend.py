"""Running an ONNX model through onnxruntime; works without torch."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: it would report to its maker
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,  # noqa: A004
    RuntimeException,
)

from buildmap.contract import METADATA_KEY, card_from_json
from buildmap.errors import InputError, MismatchError, ResourceError

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxBackend:
    """A `.onnx` model file, loaded."""

    def __init__(self, model: Path, *, device: str = "auto") -> None:
        """Load the network.

        Args:
            model: File written by `buildmap export`.
            device: 'auto', 'cpu' or 'cuda'.

        Raises:
            InputError: If the file is not ONNX, or carries no model card.
            MismatchError: If its network is not the one its card describes.
            ResourceError: If the device is not available to onnxruntime.
        """
        device = _choose(device)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            # From bytes: a path would let the file name other files to read.
            session = ort.InferenceSession(model.read_bytes(), options, providers=[_PROVIDERS[device]])
        except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented) as error:
            raise InputError(f"{model} is not a buildmap model: onnxruntime cannot read it") from error
        if _PROVIDERS[device] not in session.get_providers():
            raise ResourceError(f"onnxruntime fell back to {session.get_providers()[0]}, not {device}")
        metadata = session.get_modelmeta().custom_metadata_map
        self.card = card_from_json(metadata.get(METADATA_KEY), where=str(model))
        self.device = device
        self._session = session
        self._input = session.get_inputs()[0].name
        self._check(model)

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on (B, C, H, W); gives (B, 1, H, W)."""
        output: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return output

    def _check(self, model: Path) -> None:
        """Run the network once on a small image."""
        side, bands = 2 * self.card.stride, len(self.card.data.bands)
        try:
            found = self.logits(np.zeros((1, bands, side, side), np.float32)).shape
        except (Fail, InvalidArgument, RuntimeException, ValueError) as error:
            told = " ".join(str(error).split())
            raise MismatchError(f"{model} does not run on {bands} bands, as its card says: {told}") from error
        if found != (1, 1, side, side):
            raise MismatchError(
                f"{model} gives {found} for an image of {bands} x {side} x {side}, not one band"
            )


def _choose(device: str) -> str:
    available = ort.get_available_providers()
    if device == "auto":
        return "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    if device not in _PROVIDERS:
        raise ResourceError(f"no device '{device}'", hint="--device auto, cpu or cuda")
    if _PROVIDERS[device] not in available:
        raise ResourceError(
            f"device {device} asked for, but onnxruntime has {', '.join(available)}",
            hint="pip install onnxruntime-gpu, or --device cpu",
        )
    return device
