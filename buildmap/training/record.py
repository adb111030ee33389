"""What is known about an epoch: one line of `metrics.jsonl`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


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
    """Steps without a finite loss, which changed nothing."""
    seconds: float
    """Wall time, with validation."""
    chips_per_s: float
    """Training chips per second, without validation."""
    read_wait_share: float
    """Share of the training time, 0..1, in which the network waited for chips."""


def to_line(record: EpochRecord) -> str:
    """Give one line of JSON."""
    return json.dumps(asdict(record))


def from_line(line: str) -> EpochRecord:
    """Read one line of JSON.

    Raises:
        ValueError: If it is not a record of this version.
    """
    try:
        return EpochRecord(**json.loads(line))
    except TypeError as error:
        raise ValueError(f"not an epoch's record: {error}") from error


def best_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """Give the epoch whose weights are kept: the highest IoU, the earliest of equals.

    Without validation ground, that is the last.
    """
    if records[-1].iou is None:
        return records[-1]
    return max(records, key=lambda record: record.iou or 0.0)
