"""From float32 to eight bits: weights and activations, calibrated on real chips and judged on others.

Weights get a scale for each output channel and seven of the eight bits: processors without VNNI add
products of bytes in pairs, in sixteen bits, which eight-bit weights overflow. That costs no speed, and
without it one place lost 9 points of IoU. The range of activations is what calibration has seen:
percentiles and entropy did no better and took longer.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: it would report to its maker
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from buildmap.data.dataset import Batch, Chips
from buildmap.errors import InputError, MismatchError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.devices import BackendOptions
from buildmap.inference.onnx_backend import OnnxBackend, sigmoid
from buildmap.inference.onnx_card import fingerprint_onnx, is_int8, write_card
from buildmap.metrics.confusion import Confusion, count

MOST_LOSS_POINTS = 0.5
"""Points of IoU that eight bits must stay below."""
CALIBRATION_CHIPS = 64
"""More of them changed nothing."""
ON_CPU = BackendOptions(device="cpu")
_TIMED_ROUNDS = 3
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What eight bits cost, and what they give."""

    iou_float: float
    """Micro-IoU of the float32 model over all validation ground."""
    iou_int8: float
    """The same, of the int8 model."""
    loss_points: float
    """100 times the difference."""
    loss_points_by_source: Mapping[str, float]
    """The same, per source."""
    float_layers: tuple[str, ...]
    """Layers that stayed float32: none, the first, or the first and the last."""
    speed_ratio: float
    """CPU seconds of the float32 model per second of the int8 model, on a window of the model's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An int8 model that may be kept."""

    path: Path
    """Its file."""
    float_layers: tuple[str, ...]
    """As in `Quantized`."""
    by_source: Mapping[str, Confusion]
    """Validation pixels per source."""


def quantize(model: Path, output: Path, chips: Chips, *, progress: Progress) -> Quantized:
    """Write an int8 model, if it is as good as the float32 one.

    Args:
        model: A buildmap model, `.onnx`.
        output: Written in place; title and fingerprint in its card are its own.
        chips: Training ground to calibrate on, validation ground to judge on.
        progress: Hears of each model that is judged.

    Raises:
        InputError: If the model is int8 already or has another scale than 1, or there is no validation
            ground.
        MismatchError: If the loss is `MOST_LOSS_POINTS` or more.
    """
    floating = OnnxBackend(model, ON_CPU)
    if is_int8(model):
        raise InputError(f"model '{floating.card.title}' is int8 already", hint="export without --int8")
    if floating.card.scale != 1:
        raise InputError(
            f"model '{floating.card.title}' predicts at scale {floating.card.scale}, and int8 is judged on "
            "truth that has the image's pixels, scale 1",
            hint="export without --int8",
        )
    expected = count_by_source(floating, chips.validation_batches())
    if not expected:
        raise InputError(
            "there is no validation ground to judge int8 on",
            hint='set use = "validation" or "split" on a source',
        )
    images = calibration_images(chips)
    kept = choose_trial(_trials(model, output, images, chips, progress), expected)
    iou_float, iou_int8 = _iou(expected), _iou(kept.by_source)
    loss = 100 * (iou_float - iou_int8)
    if not loss < MOST_LOSS_POINTS:
        raise MismatchError(
            f"int8 loses {loss:.2f} points of IoU ({iou_float:.4f} in float32, {iou_int8:.4f} in int8), "
            f"and may lose less than {MOST_LOSS_POINTS}",
            hint="export without --int8",
        )
    kept.path.replace(output)
    card = floating.card
    write_card(output, replace(card, title=f"{card.title} (int8)", fingerprint=fingerprint_onnx(output)))
    return Quantized(
        iou_float=round(iou_float, 5),
        iou_int8=round(iou_int8, 5),
        loss_points=round(loss, 3),
        loss_points_by_source={name: round(lost, 3) for name, lost in _losses(expected, kept).items()},
        float_layers=kept.float_layers,
        speed_ratio=round(speed_ratio(floating, OnnxBackend(output, ON_CPU), images[0]), 2),
    )


def choose_trial(trials: Iterable[Trial], expected: Mapping[str, Confusion]) -> Trial:
    """Give the first in which no source loses too much, or else the one with the best IoU over all.

    Args:
        trials: Made only as far as they are needed.
        expected: The float32 model's pixels.
    """
    seen = []
    for trial in trials:
        seen.append(trial)
        if max(_losses(expected, trial).values()) < MOST_LOSS_POINTS:
            return trial
    return max(seen, key=lambda trial: _iou(trial.by_source))


def calibration_images(chips: Chips) -> NDArray[np.float32]:
    """Give training chips, (n, bands, rows, cols), normalized; always the same."""
    found: list[NDArray[np.float32]] = []
    while sum(map(len, found)) < CALIBRATION_CHIPS:
        found.append(chips.training_batch(len(found)).image)
    return np.concatenate(found)[:CALIBRATION_CHIPS]


def to_int8(model: Path, output: Path, images: NDArray[np.float32], *, excluded: Iterable[str] = ()) -> None:
    """Quantize weights and activations.

    Args:
        model: An ONNX file.
        output: Written in place; the card is the model's own.
        images: (n, bands, rows, cols), normalized: what activations are measured on.
        excluded: Names of nodes that stay float32.
    """
    graph = onnx.load(model, load_external_data=False)
    add_pre_process_metadata(graph)  # the exporter has folded and named what that would; it warns otherwise
    quantize_static(
        graph,
        output,
        _Images(graph.graph.input[0].name, images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(excluded),
        calibrate_method=CalibrationMethod.MinMax,
    )


def layer_ends(model: Path) -> tuple[str, str]:
    """Name the first and the last node with weights."""
    nodes = onnx.load(model, load_external_data=False).graph.node
    weighted = [str(node.name) for node in nodes if node.op_type in _WEIGHTED]
    if not weighted:
        raise InputError(f"{model} has no layer that int8 makes faster", hint="export without --int8")
    return weighted[0], weighted[-1]


def count_by_source(backend: OnnxBackend, batches: Iterable[Batch]) -> dict[str, Confusion]:
    """Predict every batch, and count pixels per source at the card's threshold."""

    def judge(batch: Batch) -> list[tuple[str, Confusion]]:
        building = sigmoid(backend.logits(batch.image)[:, 0]) >= backend.card.threshold
        return [
            (name, count(building[i], batch.target[i] >= 0.5, batch.valid[i]))
            for i, name in enumerate(batch.names)
        ]

    found: dict[str, Confusion] = {}
    for counted in prefetch(judge, batches, workers=backend.lanes, ahead=2 * backend.lanes):
        for name, confusion in counted:
            found[name] = found.get(name, Confusion()) + confusion
    return found


def speed_ratio(floating: OnnxBackend, int8: OnnxBackend, image: NDArray[np.float32]) -> float:
    """Time both in turn on windows of the card's size, in all lanes, and divide the best times.

    CPU time, since an exporting machine may have other work, which wall time would put on one of them.

    Args:
        floating: The slower.
        int8: The faster.
        image: (bands, rows, cols), normalized; repeated to a window.
    """
    side = floating.card.window_px
    repeats = [-(-side // length) for length in image.shape[1:]]
    window = np.tile(image, (1, *repeats))[None, :, :side, :side]
    seconds: dict[OnnxBackend, list[float]] = {floating: [], int8: []}
    for _ in range(1 + _TIMED_ROUNDS):
        for backend, times in seconds.items():
            with ThreadPoolExecutor(backend.lanes) as lanes:
                since = time.process_time()
                list(lanes.map(backend.logits, [window] * backend.lanes))
                times.append((time.process_time() - since) / backend.lanes)
    return min(seconds[floating][1:]) / min(seconds[int8][1:])


def _trials(
    model: Path, output: Path, images: NDArray[np.float32], chips: Chips, progress: Progress
) -> Iterator[Trial]:
    """Quantize all layers, then all but the first, then all but the first and the last."""
    ends = dict(zip(("first", "last"), layer_ends(model), strict=True))
    progress.start("quantizing", len(ends) + 1)
    for number in range(len(ends) + 1):
        names = tuple(ends)[:number]
        path = output.with_name(f"{number}-{output.name}")
        to_int8(model, path, images, excluded=[ends[name] for name in names])
        backend = OnnxBackend(path, ON_CPU)
        by_source = count_by_source(backend, chips.validation_batches())
        progress.advance()
        yield Trial(path=path, float_layers=names, by_source=by_source)


def _iou(by_source: Mapping[str, Confusion]) -> float:
    return sum(by_source.values(), start=Confusion()).iou


def _losses(expected: Mapping[str, Confusion], trial: Trial) -> dict[str, float]:
    return {name: 100 * (counts.iou - trial.by_source[name].iou) for name, counts in expected.items()}


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Hands images to the calibrator, one at a time."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        self._name = name
        self._images = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image[None]}
