"""Trainings that take no time, whose scores are known."""

import math
import os
import signal
from dataclasses import replace
from pathlib import Path

from buildmap.errors import DivergedError, InputError, ResourceError
from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.search.plan import Halving, SearchPlan
from buildmap.search.run import SearchSummary, search
from buildmap.search.trial import Trial
from buildmap.train import TrainOptions, TrainSummary
from buildmap.training.record import best_record, from_line, to_line
from tests.unit.training.epochs import record
from tests.unit.training.fakes import PRESET

FAKE: Preset = replace(PRESET, training=replace(PRESET.training, epochs=20))
"""What is changed by a search here; 20 epochs."""
DIVERGING, HUNGRY, KILLED, WRONG, BUGGY, INTERRUPTED, LATE = 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0
"""Learning rates at which something happens: once only, if it is a kill or an interruption."""


def final_score(preset: Preset) -> float:
    """Say what a preset comes to: most at bce 0.5, dice 0.4, boundary 0.1 and a learning rate of 1e-4."""
    loss, rate = preset.loss, math.log10(preset.training.learning_rate)
    weights = (loss.bce - 0.5) ** 2 + (loss.dice - 0.4) ** 2 + (loss.boundary_alignment - 0.1) ** 2
    return 0.7 - weights - 0.01 * (rate + 4) ** 2 + 1e-4 * preset.training.seed


def score(preset: Preset, epoch: int) -> float:
    """Say what an epoch comes to: it rises, the faster the higher the learning rate, and falls from 15 on.

    So that early on, other settings lead.
    """
    speed = 1 + 0.03 * math.log10(preset.training.learning_rate * 1e4)
    return final_score(preset) * (1 - math.exp(-epoch * speed / 3)) - 1e-2 * max(epoch - 15, 0)


def learn(
    data: Path, output: Path, preset: Preset, options: TrainOptions, *, progress: Progress | None
) -> TrainSummary:
    """Train as `buildmap.train.train` does, in no time; `data / 'epochs'` lists every epoch that is run."""
    run = output.with_suffix(".run")
    run.mkdir(exist_ok=True)
    metrics = run / "metrics.jsonl"
    if options.restart:
        metrics.unlink(missing_ok=True)
    records = [from_line(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    last = min(options.stop_after or preset.training.epochs, preset.training.epochs)
    while len(records) < last:
        epoch = len(records) + 1
        if progress:
            progress.start(f"epoch {epoch}/{preset.training.epochs}", 1)
        iou = score(preset, epoch)
        records.append(replace(record(epoch), iou=iou, f1=iou / 2, balanced_accuracy=1 - iou, seconds=1.0))
        with metrics.open("a") as file:
            file.write(f"{to_line(records[-1])}\n")
        with (data / "epochs").open("a") as file:
            file.write(f"{output.stem} {epoch} {options.device} {os.getpid()}\n")
        _accident(preset.training.learning_rate, data, epoch)
        if progress:
            progress.advance()
    kept = best_record(records)
    output.write_text(f"{output.stem} after epoch {kept.epoch}")
    return TrainSummary(
        output=str(output),
        run_folder=str(run),
        title="",
        parameters=0,
        device=options.device,
        training_chips=0,
        validation_chips=0,
        epochs=len(records),
        resumed_after_epoch=0,
        best_epoch=kept.epoch,
        validation_iou=kept.iou,
        validation_f1=kept.f1,
        validation_balanced_accuracy=kept.balanced_accuracy,
        validation_iou_by_source={},
        test_iou=None,
        test_mean_iou=None,
        test_f1=None,
        test_balanced_accuracy=None,
        dropped_annotations=0,
        missing_buildings=None,
        phantom_buildings=None,
        skipped_steps=0,
        seconds=float(len(records)),
    )


def _accident(rate: float, data: Path, epoch: int) -> None:
    if rate == DIVERGING:
        raise DivergedError("no finite loss")
    if rate == HUNGRY or (rate == LATE and epoch > 3):
        raise ResourceError("too little memory", hint="lower batch_size")
    if rate == WRONG:
        raise InputError("a raster is broken", hint="mend it")
    if rate == BUGGY:
        raise ZeroDivisionError("a bug")
    happened = data / "happened"
    if rate in {KILLED, INTERRUPTED} and not happened.exists():
        happened.touch()
        if rate == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyboardInterrupt


def found_in(
    folder: Path, grid: dict[str, list[str]], halving: Halving | None = None, **options: object
) -> SearchSummary:
    """Search in a folder, on one device unless the options say otherwise."""
    folder.mkdir(exist_ok=True)
    plan = SearchPlan(grid=grid, halving=halving)
    run = replace(TrainOptions(device="cpu"), **options)  # type: ignore[arg-type]
    return search(folder, folder / "m.safetensors", FAKE, plan, run, learn=learn)


def paths_aside(found: SearchSummary) -> SearchSummary:
    """Make searches in different folders comparable."""
    trials = tuple(replace(trial, model=trial.model and Path(trial.model).name) for trial in found.trials)
    return replace(found, output="", table="", heatmap="", preset="", trials=trials)


def epochs_run(data: Path) -> list[tuple[str, int]]:
    """List the epochs that were run: trial and number."""
    lines = (line.split() for line in (data / "epochs").read_text().splitlines())
    return [(name, int(epoch)) for name, epoch, *_ in lines]


def trial(settings: dict[str, str], iou: float | None, *, epochs: int = 20, stopped: bool = False) -> Trial:
    """Make a trial with a model, or one that has diverged."""
    return Trial(
        settings=settings,
        model=None if iou is None else "m.safetensors",
        iou=iou,
        f1=None if iou is None else iou / 2,
        balanced_accuracy=None if iou is None else 1 - iou,
        epochs=epochs,
        stopped=stopped,
        diverged=iou is None,
    )
