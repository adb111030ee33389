"""The story of `buildmap train --grid`: one training for each combination of settings, and a table."""

import csv
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from buildmap.errors import DivergedError
from buildmap.execution.progress import Progress
from buildmap.preset import Preset, change_preset
from buildmap.publish import staged
from buildmap.train import TrainOptions, train

_SEED = "training.seed"
_DEFAULTS = TrainOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of the grid."""

    settings: Mapping[str, str]
    """What was changed in the preset, key by key."""
    model: str | None = None
    """Its model file; None if it diverged."""
    best_epoch: int | None = None
    """The epoch whose weights were kept."""
    iou: float | None = None
    """Validation micro-IoU of that epoch."""
    f1: float | None = None
    """Validation F1, which is the Dice score, of that epoch."""
    balanced_accuracy: float | None = None
    """Mean of the recalls of building and background, likewise."""
    seconds: float = 0.0
    """Wall time of its epochs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Trials that differ in their seed only."""

    settings: Mapping[str, str]
    """What they share, without the seed."""
    trials: int
    """How many ended with a model."""
    iou: float | None
    """Mean over the seeds."""
    iou_sd: float | None
    """Standard deviation over the seeds; None for a single one."""
    f1: float | None
    """Mean over the seeds."""
    f1_sd: float | None
    """Standard deviation over the seeds; None for a single one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What a grid of trainings has shown."""

    output: str
    """The best model."""
    table: str
    """CSV of all trials."""
    best: Mapping[str, str]
    """Settings of the best trial."""
    diverged: int
    """Trials without a model."""
    seconds: float
    """Wall time of all epochs."""
    rows: tuple[Row, ...]
    """One per combination of settings, seeds averaged."""
    trials: tuple[Trial, ...]
    """One per training."""


def search(
    data: Path,
    output: Path,
    preset: Preset,
    grid: Mapping[str, Sequence[str]],
    options: TrainOptions = _DEFAULTS,
    *,
    progress: Progress | None = None,
) -> SearchSummary:
    """Train every combination of a grid, and keep the best model.

    Each trial has a folder in `OUTPUT.grid/`; a search that was interrupted goes on there, and finished
    trials are not trained again.

    Args:
        data: Folder of rasters and annotations.
        output: Where the best model goes, `.safetensors`.
        preset: What the settings change.
        grid: Values for each key, as `change_preset` takes them.
        options: How to run each.
        progress: Hears of each epoch.

    Raises:
        DivergedError: If every trial diverged.
        BuildmapError: As `train`.
    """
    folder = output.with_suffix(".grid")
    presets = {combination: _changed(preset, combination) for combination in _combinations(grid)}
    with staged(output, overwrite=options.overwrite) as private:
        folder.mkdir(exist_ok=True)
        trials = []
        for settings, changed in presets.items():
            model = folder / f"{_name(settings)}.safetensors"
            trials.append(_try(data, model, changed, dict(settings), options, progress))
        table = folder / "trials.csv"
        _write_csv(trials, table)
        best = _best(trials, preset)
        shutil.copyfile(str(best.model), private / output.name)
    return SearchSummary(
        output=str(output),
        table=str(table),
        best=best.settings,
        diverged=sum(trial.model is None for trial in trials),
        seconds=round(sum(trial.seconds for trial in trials), 1),
        rows=tuple(_rows(trials)),
        trials=tuple(trials),
    )


def _combinations(grid: Mapping[str, Sequence[str]]) -> list[tuple[tuple[str, str], ...]]:
    return [tuple(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _changed(preset: Preset, combination: tuple[tuple[str, str], ...]) -> Preset:
    for key, text in combination:
        preset = change_preset(preset, key, text)
    return preset


def _name(combination: tuple[tuple[str, str], ...]) -> str:
    """Name a trial's files by its settings."""
    text = ",".join(f"{key}={value}" for key, value in combination)
    return re.sub(r"[^\w.,=+-]", "_", text)


def _try(
    data: Path,
    model: Path,
    preset: Preset,
    settings: Mapping[str, str],
    options: TrainOptions,
    progress: Progress | None,
) -> Trial:
    try:
        found = train(data, model, preset, replace(options, overwrite=True), progress=progress)
    except DivergedError:
        return Trial(settings=settings)
    return Trial(
        settings=settings,
        model=found.output,
        best_epoch=found.best_epoch,
        iou=found.validation_iou,
        f1=found.validation_f1,
        balanced_accuracy=found.validation_balanced_accuracy,
        seconds=found.seconds,
    )


def _best(trials: Sequence[Trial], preset: Preset) -> Trial:
    """Give the first of the trials with the highest IoU, or the metric the preset names."""
    metric = preset.training.metric if preset.training.metric != "loss" else "iou"
    ended = [trial for trial in trials if trial.model is not None]
    if not ended:
        raise DivergedError("every trial of the grid diverged", hint="lower training.learning_rate")
    return max(ended, key=lambda trial: getattr(trial, metric) or 0.0)


def _rows(trials: Sequence[Trial]) -> list[Row]:
    groups: dict[tuple[tuple[str, str], ...], list[Trial]] = {}
    for trial in trials:
        shared = tuple((key, value) for key, value in trial.settings.items() if key != _SEED)
        groups.setdefault(shared, []).append(trial)
    return [_row(dict(shared), group) for shared, group in groups.items()]


def _row(settings: Mapping[str, str], trials: Sequence[Trial]) -> Row:
    ious = [trial.iou for trial in trials if trial.iou is not None]
    f1s = [trial.f1 for trial in trials if trial.f1 is not None]
    return Row(
        settings=settings,
        trials=sum(trial.model is not None for trial in trials),
        iou=statistics.mean(ious) if ious else None,
        iou_sd=statistics.stdev(ious) if len(ious) > 1 else None,
        f1=statistics.mean(f1s) if f1s else None,
        f1_sd=statistics.stdev(f1s) if len(f1s) > 1 else None,
    )


def _write_csv(trials: Sequence[Trial], path: Path) -> None:
    with staged(path, overwrite=True) as folder, (folder / path.name).open("w", newline="") as file:
        writer = csv.writer(file)
        measured = ("best_epoch", "iou", "f1", "balanced_accuracy", "seconds", "model")
        writer.writerow([*trials[0].settings, *measured])
        for trial in trials:
            writer.writerow([*trial.settings.values(), *(getattr(trial, name) for name in measured)])
