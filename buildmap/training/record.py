"""What is known about an epoch: one line of `metrics.jsonl`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from buildmap.schema import parse_json

Metric = Literal["iou", "f1", "balanced_accuracy", "loss"]
"""What an epoch is judged by, on the validation ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: learning, then validation."""

    epoch: int
    """Counted from 1."""
    train_loss: float | None
    """Mean over the steps; None if every one was skipped."""
    validation_loss: float | None
    """Mean over the validation batches; None without validation ground."""
    iou: float | None
    """Micro-IoU over all validation pixels, threshold 0.5; None without validation ground."""
    iou_by_source: Mapping[str, float]
    """Micro-IoU over each source's validation pixels."""
    learning_rate: float
    """Of the epoch's last step."""
    skipped_steps: int
    """Steps without a finite loss and gradient, which changed nothing."""
    seconds: float
    """Wall time, with validation."""
    chips_per_s: float
    """Training chips per second, without validation."""
    read_wait_share: float
    """Share of the training time, 0..1, in which the network waited for chips."""
    f1: float | None = None
    """F1 over all validation pixels, threshold 0.5; None without validation ground."""
    balanced_accuracy: float | None = None
    """Mean of the shares found of building and of background, likewise."""
    counts_by_source: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """tp, fp, fn, tn: each source's validation pixels, from which any score over any group follows."""
    went_back: int = 0
    """Times the last good weights were put back, after many skipped steps in a row."""


def to_line(record: EpochRecord) -> str:
    """Give one line of JSON."""
    return json.dumps(asdict(record))


def from_line(line: str) -> EpochRecord:
    """Read one line of JSON.

    Raises:
        ValueError: If it is not a record of this version.
    """
    try:
        table = parse_json(line)
        counts = table.get("counts_by_source", {})
        table["counts_by_source"] = {name: tuple(pixels) for name, pixels in counts.items()}
        return EpochRecord(**table)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not an epoch's record: {error}") from error


def best_record(records: Sequence[EpochRecord], metric: Metric = "iou") -> EpochRecord:
    """Give the epoch whose weights are kept: the best by a metric, the earliest of equals.

    Without validation ground, that is the last.
    """
    if records[-1].iou is None:
        return records[-1]
    return max(records, key=lambda record: _goodness(record, metric))


def is_exhausted(records: Sequence[EpochRecord], metric: Metric, patience_epochs: int | None) -> bool:
    """Say whether the last so many epochs have all been no better than an earlier one."""
    if patience_epochs is None or not records:
        return False
    return records[-1].epoch - best_record(records, metric).epoch >= patience_epochs


def _goodness(record: EpochRecord, metric: Metric) -> float:
    """Give a number that is higher for better epochs; a value that is missing or NaN is the worst."""
    value = record.validation_loss if metric == "loss" else getattr(record, metric)
    if value is None or math.isnan(value):
        return -math.inf
    return -value if metric == "loss" else value
