"""Whether a network runs here: onnxruntime, and the built-in model on a drawing whose answer is known."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildmap.checks.fact import Fact, failed, ok, warning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIDE_PX = 256
_TOLERANCE = 0.005
"""Processors and precisions differ by less, and a network that is wrong by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a shipped model is, and what it says."""

    sha256: str
    """SHA-256 of the file, the first 16 hex digits."""
    probability: float
    """Mean probability of building over `village`."""


ANSWERS = {"lite.onnx": Answer(sha256="0f6998ac533a2acf", probability=0.1983)}
"""Of every model in the package."""


def onnxruntime(gpus: tuple[str, ...] | None) -> Fact:
    """Tell onnxruntime's version, and on what it can run.

    Args:
        gpus: As the driver sees them.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: it would report to its maker
    import onnxruntime as library

    providers = [name.removesuffix("ExecutionProvider") for name in library.get_available_providers()]
    detail = f"{library.__version__}: {', '.join(providers)}"
    if gpus and "CUDA" not in providers:
        hint = "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return warning("onnxruntime", f"{detail}, but there is a GPU", hint)
    return ok("onnxruntime", detail)


def shipped_models() -> tuple[Fact, ...]:
    """Compare the model files of the package with what they were when it was made."""
    from buildmap.inference.backend import builtin_model

    return tuple(_shipped(builtin_model().with_name(name), answer) for name, answer in ANSWERS.items())


def builtin_model_runs() -> Fact:
    """Run the built-in model, on the device that `predict` would take, on a drawing."""
    from buildmap.inference.backend import builtin_model, load_backend

    name = "built-in model"
    backend = load_backend(builtin_model())
    found = float(backend.probability(village(_SIDE_PX)[None]).mean())
    known = ANSWERS[builtin_model().name].probability
    told = f"on {backend.device}: mean probability {found:.4f} over a drawing, known is {known:.4f}"
    if not abs(found - known) <= _TOLERANCE:
        return failed(name, told, "reinstall onnxruntime; if that does not help, --device cpu")
    return ok(name, told)


def village(side_px: int) -> "NDArray[np.uint8]":
    """Draw roofs with two slopes and a shadow on grainy ground: (3, side_px, side_px)."""
    import numpy as np

    row, col = np.mgrid[:side_px, :side_px]
    grain = (row * 7 + col * 13) % 17 + row * col % 23
    image = np.stack([70 + grain, 95 + grain, 55 + grain])
    for top in range(24, side_px - 40, 64):
        for left in range(24, side_px - 40, 64):
            image[:, top + 36 : top + 42, left + 4 : left + 44] = 30
            roof = np.s_[:, top : top + 36, left : left + 40]
            image[roof] = np.array([190, 90, 70])[:, None, None] + grain[roof[1:]] // 3
            image[:, top + 18 : top + 36, left : left + 40] -= 25
    return image.astype(np.uint8)


def hash_of(model: Path) -> str:
    """Give the SHA-256 of a whole file, the first 16 hex digits."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _shipped(model: Path, answer: Answer) -> Fact:
    name, hint = f"model {model.name}", "reinstall buildmap: pip install --force-reinstall --no-deps buildmap"
    if not model.is_file():
        return failed(name, f"{model} is not there", hint)
    if (found := hash_of(model)) != answer.sha256:
        return failed(name, f"{model} is damaged: its SHA-256 begins with {found}, not {answer.sha256}", hint)
    return ok(name, f"{model.stat().st_size / 1e6:.1f} MB, SHA-256 {found}...")
