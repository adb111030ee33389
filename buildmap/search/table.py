"""What a search has shown, in rows: seeds averaged, to print; and trial by trial, as CSV."""

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildmap.publish import staged
from buildmap.search.trial import Score, Trial

_SEED = "training.seed"
_MEASURED = (
    "epochs",
    "stopped",
    "best_epoch",
    "iou",
    "f1",
    "balanced_accuracy",
    "seconds",
    "model",
    "diverged",
    "failure",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Trials that differ in their seed only."""

    settings: Mapping[str, str]
    """What they share, without the seed."""
    trials: int
    """How many ended with a model."""
    epochs: int
    """Most epochs that one of them has run."""
    stopped: bool
    """All of them were stopped before their time."""
    score: float | None
    """Mean over the seeds of what trials are compared by."""
    iou: float | None
    """Mean over the seeds."""
    iou_sd: float | None
    """Standard deviation over the seeds; None for a single one."""
    f1: float | None
    """Mean over the seeds."""
    f1_sd: float | None
    """Standard deviation over the seeds; None for a single one."""


def rows_of(trials: Sequence[Trial], score: Score) -> tuple[Row, ...]:
    """Average the seeds."""
    groups: dict[tuple[tuple[str, str], ...], list[Trial]] = {}
    for trial in trials:
        shared = tuple((key, value) for key, value in trial.settings.items() if key != _SEED)
        groups.setdefault(shared, []).append(trial)
    return tuple(_row(dict(shared), group, score) for shared, group in groups.items())


def best_row(rows: Sequence[Row]) -> Row | None:
    """Give the first of the rows with the highest mean score; stopped ones count where no other has any."""
    able = [row for row in rows if row.score is not None]
    ended = [row for row in able if not row.stopped]
    return max(ended or able, key=lambda row: row.score or 0.0, default=None)


def _row(settings: Mapping[str, str], trials: Sequence[Trial], score: Score) -> Row:
    ended = [trial for trial in trials if trial.model is not None]
    scores = _known(getattr(trial, score) for trial in ended)
    ious, f1s = _known(trial.iou for trial in ended), _known(trial.f1 for trial in ended)
    return Row(
        settings=settings,
        trials=len(ended),
        epochs=max(trial.epochs for trial in trials),
        stopped=all(trial.stopped for trial in trials),
        score=statistics.mean(scores) if scores else None,
        iou=statistics.mean(ious) if ious else None,
        iou_sd=statistics.stdev(ious) if len(ious) > 1 else None,
        f1=statistics.mean(f1s) if f1s else None,
        f1_sd=statistics.stdev(f1s) if len(f1s) > 1 else None,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def write_csv(trials: Sequence[Trial], path: Path) -> None:
    """Write one line for each trial; a file that is there is replaced.

    Raises:
        StorageError: If the disk is full or fails.
    """
    with (
        staged(path, overwrite=True) as folder,
        (folder / path.name).open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([*trials[0].settings, *_MEASURED])
        for trial in trials:
            writer.writerow([*trial.settings.values(), *(getattr(trial, name) for name in _MEASURED)])
