"""The story of `buildmap train --grid` and `--search`: many trainings, the best model, and a table.

Without halving, every trial runs to its end. With it, all run to the same epoch and are judged, those that
are chosen run on to the next judgement, and so on.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from buildmap.errors import DivergedError, ResourceError
from buildmap.execution.progress import Progress, Silent
from buildmap.preset import Preset, change_preset
from buildmap.publish import staged
from buildmap.search.heatmap import draw
from buildmap.search.judge import Judge
from buildmap.search.plan import SearchPlan, trial_name
from buildmap.search.processes import run_jobs
from buildmap.search.table import Row, rows_of, write_csv
from buildmap.search.trial import Job, Learn, Score, Trial, scores_by_epoch
from buildmap.train import TrainOptions, check_model_file, train
from buildmap.training.device import Devices, find_devices
from buildmap.training.preset_toml import to_toml

_DEFAULTS = TrainOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What a search has shown."""

    output: str
    """The best model."""
    table: str
    """CSV of all trials."""
    heatmap: str | None
    """Picture of the scores; None if no key has several values."""
    preset: str
    """The preset of the best trial, as TOML."""
    best: Mapping[str, str]
    """Settings of the best trial."""
    diverged: int
    """Trials whose loss stayed without a finite value."""
    failed: int
    """Trials that have no model for another reason."""
    stopped: int
    """Trials that ended before their time, as others were better."""
    epochs: int
    """Epochs run in all, those of an earlier run included."""
    grid_epochs: int
    """Epochs of all trials, had none ended before its time."""
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
    plan: SearchPlan,
    options: TrainOptions = _DEFAULTS,
    *,
    progress: Progress | None = None,
    learn: Learn = train,
) -> SearchSummary:
    """Train every combination of a grid, or so much of it as halving leaves, and keep the best model.

    Each trial has a folder in `OUTPUT.grid/`; a search that was interrupted goes on there, and finished
    trials are not trained again. Of several devices, each trial has one.

    Args:
        data: Folder of rasters and annotations.
        output: Where the best model goes, `.safetensors`.
        preset: What the settings change.
        plan: What is tried.
        options: How to run each.
        progress: Hears of each epoch.
        learn: What does a training.

    Raises:
        DivergedError: If every trial diverged.
        ResourceError: If no trial has a model, and not all diverged; or halving lacks Optuna.
        OutputError: If the output is no name of a model, exists already, or cannot be created.
        BuildmapError: As `train`.
    """
    check_model_file(output, preset)
    folder = output.with_suffix(".grid")
    devices = find_devices(options.device)
    jobs = [
        Job(
            number=number,
            settings=settings,
            data=data,
            model=folder / f"{trial_name(settings)}.safetensors",
            preset=change_preset(preset, settings),
            options=replace(options, overwrite=True),
            learn=learn,
        )
        for number, settings in enumerate(plan.combinations())
    ]
    judge = Judge(plan.halving, len(jobs)) if plan.halving else None
    score: Score = preset.training.metric if preset.training.metric != "loss" else "iou"
    with staged(output, overwrite=options.overwrite) as private:
        folder.mkdir(exist_ok=True)
        rounds = _Rounds(jobs, devices, folder / "trials.csv", progress or Silent())
        if judge is not None:
            for epoch in judge.epochs(max(job.preset.training.epochs for job in jobs)):
                rounds.run(until=epoch)
                rounds.judge(judge, epoch, score)
        rounds.run(until=None)
        best = jobs[_best(rounds.trials, score)]
        rows = rows_of(rounds.trials, score)
        heatmap = draw(rows, score, folder / "heatmap.png")
        _write(to_toml(best.preset), folder / "best.toml")
        shutil.copyfile(best.model, private / output.name)
    return SearchSummary(
        output=str(output),
        table=str(folder / "trials.csv"),
        heatmap=str(folder / "heatmap.png") if heatmap else None,
        preset=str(folder / "best.toml"),
        best=best.settings,
        diverged=sum(trial.diverged for trial in rounds.trials),
        failed=sum(trial.failure is not None for trial in rounds.trials),
        stopped=sum(trial.stopped for trial in rounds.trials),
        epochs=sum(trial.epochs for trial in rounds.trials),
        grid_epochs=sum(job.preset.training.epochs for job in jobs),
        seconds=round(sum(trial.seconds for trial in rounds.trials), 1),
        rows=rows,
        trials=tuple(rounds.trials),
    )


class _Rounds:
    """Runs those trials that are still in the race, and remembers what all have shown."""

    def __init__(self, jobs: Sequence[Job], devices: Devices, table: Path, progress: Progress) -> None:
        self._jobs, self._devices, self._table, self._progress = jobs, devices, table, progress
        self._racing = list(jobs)
        self._found: dict[int, Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """Those that have shown something, in the order of the grid."""
        return [self._found[job.number] for job in self._jobs if job.number in self._found]

    def run(self, *, until: int | None) -> None:
        """Have every trial that is in the race go on to an epoch, or to its end."""
        due = [self._resumed(job, until) for job in self._racing if self._epochs(job) < (until or math.inf)]
        with closing(run_jobs(due, self._devices, self._progress, of=len(self._jobs))) as ended:
            for job, trial in ended:
                self._found[job.number] = trial
                write_csv(self.trials, self._table)

    def _epochs(self, job: Job) -> int:
        return self._found[job.number].epochs if job.number in self._found else 0

    def _resumed(self, job: Job, until: int | None) -> Job:
        """Have a trial end at an epoch; what it has run before in this search is never dropped."""
        restart = job.options.restart and job.number not in self._found
        return replace(job, options=replace(job.options, stop_after=until, restart=restart))

    def judge(self, judge: Judge, epoch: int, score: Score) -> None:
        """Take from the race who is not chosen, has no model, or is at its end."""
        able = [
            job
            for job in self._racing
            if self._found[job.number].model is not None
            and job.preset.training.epochs > epoch <= self._found[job.number].epochs
        ]
        chosen = judge.choose({job.number: scores_by_epoch(job.model, score) for job in able}, epoch=epoch)
        for job in able:
            if job.number not in chosen:
                self._found[job.number] = replace(self._found[job.number], stopped=True)
        self._racing = [job for job in able if job.number in chosen]
        write_csv(self.trials, self._table)


def _best(trials: Sequence[Trial], score: Score) -> int:
    """Give the number of the first of the trials with the highest score.

    Trials that were stopped count only where no other has a model.

    Raises:
        DivergedError: If every trial diverged.
        ResourceError: If no trial has a model, and not all diverged.
    """
    able = [number for number, trial in enumerate(trials) if trial.model is not None]
    if able:
        ended = [number for number in able if not trials[number].stopped]
        return max(ended or able, key=lambda number: getattr(trials[number], score) or 0.0)
    if failures := [trial.failure for trial in trials if trial.failure is not None]:
        raise ResourceError(f"no trial has a model: {failures[0]}")
    raise DivergedError("every trial of the grid diverged", hint="lower training.learning_rate")


def _write(text: str, path: Path) -> None:
    with staged(path, overwrite=True) as folder:
        (folder / path.name).write_text(text, encoding="utf-8")
