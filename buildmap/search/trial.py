"""One training of a search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from buildmap.errors import DivergedError, MismatchError, ResourceError
from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.train import TrainOptions, TrainSummary
from buildmap.training.record import EpochRecord, from_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one training has shown."""

    settings: Mapping[str, str]
    """What was changed in the preset, key by key."""
    model: str | None = None
    """Its model file; None if it has none."""
    best_epoch: int | None = None
    """The epoch whose weights were kept."""
    iou: float | None = None
    """Validation micro-IoU of that epoch."""
    f1: float | None = None
    """Validation F1, which is the Dice score, of that epoch."""
    balanced_accuracy: float | None = None
    """Mean of the recalls of building and background, likewise."""
    epochs: int = 0
    """Epochs it has run, those of an earlier run included."""
    stopped: bool = False
    """Ended before its time, as others were better."""
    diverged: bool = False
    """It has no model, as its loss stayed without a finite value."""
    failure: str | None = None
    """What else kept it from a model."""
    seconds: float = 0.0
    """Wall time of its epochs."""


Score = Literal["iou", "f1", "balanced_accuracy"]
"""What trials are compared by: a loss would change with its own weights."""


class Learn(Protocol):
    """What a trial is done by: `buildmap.train.train`, or what has its manner. It is pickled."""

    def __call__(
        self, data: Path, output: Path, preset: Preset, options: TrainOptions, *, progress: Progress | None
    ) -> TrainSummary:
        """Train a model, or go on where the same training was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training to be done."""

    number: int
    """Counted from 0, in the order of the table."""
    settings: Mapping[str, str]
    """What is changed in the preset, key by key."""
    data: Path
    """Folder of rasters and annotations."""
    model: Path
    """Where its model goes."""
    preset: Preset
    """With the settings."""
    options: TrainOptions
    """How it runs."""
    learn: Learn
    """What does it."""

    def run(self, progress: Progress | None) -> Trial:
        """Train; a loss without a finite value, or want of memory, is a trial without a model.

        Raises:
            BuildmapError: What would end every trial alike, or the disk, has to say.
        """
        try:
            found = self.learn(self.data, self.model, self.preset, self.options, progress=progress)
        except DivergedError:
            return Trial(settings=self.settings, diverged=True, epochs=len(_records(self.model)))
        except ResourceError as error:
            failure = f"{error}; {error.hint}" if error.hint else str(error)
            return Trial(settings=self.settings, failure=failure, epochs=len(_records(self.model)))
        return Trial(
            settings=self.settings,
            model=found.output,
            best_epoch=found.best_epoch,
            iou=found.validation_iou,
            f1=found.validation_f1,
            balanced_accuracy=found.validation_balanced_accuracy,
            epochs=found.epochs,
            seconds=found.seconds,
        )


def scores_by_epoch(model: Path, score: Score) -> list[float]:
    """Give what each epoch of a trial has come to on the validation ground.

    Raises:
        MismatchError: If there is no such ground.
    """
    scores = [getattr(record, score) for record in _records(model)]
    if None in scores:
        raise MismatchError(
            "successive halving judges by scores, and there is no validation ground",
            hint="leave [halving] out of the search, or set training.validation_share",
        )
    return scores


def _records(model: Path) -> list[EpochRecord]:
    """Read what is known about a trial's epochs, also of one that failed."""
    path = model.with_suffix(".run") / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [from_line(line) for line in lines]
