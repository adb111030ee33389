"""Trials one after another, and side by side."""

import logging
import multiprocessing
import os
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from buildmap.errors import InputError
from buildmap.execution.progress import Progress, Silent
from buildmap.preset import Preset, change_preset
from buildmap.search.plan import Halving
from buildmap.search.processes import run_jobs
from buildmap.search.trial import Job, Learn, Trial
from buildmap.train import TrainOptions, TrainSummary
from buildmap.training.device import Devices
from tests.unit.search.fakes import (
    BUGGY,
    FAKE,
    HUNGRY,
    KILLED,
    WRONG,
    epochs_run,
    found_in,
    learn,
    paths_aside,
)
from tests.unit.search.slow_search import GRID, search_slowly

ONE, TWO = (Devices(kind="cpu", indices=tuple(range(count))) for count in (1, 2))


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.advanced = 0
        self.notes: list[str] = []

    def start(self, task: str, total: int) -> None:
        self.started.append((task, total))

    def advance(self, steps: int = 1) -> None:
        self.advanced += steps

    def note(self, text: str) -> None:
        self.notes.append(text)


def jobs(folder: Path, rates: list[float], *, how: Learn = learn, epochs: int = 2) -> list[Job]:
    (folder / "grid").mkdir()
    settings = [{"training.learning_rate": str(rate)} for rate in rates]
    return [
        Job(
            number=number,
            settings=one,
            data=folder,
            model=folder / "grid" / f"{number}.safetensors",
            preset=change_preset(FAKE, one),
            options=TrainOptions(stop_after=epochs),
            learn=how,
        )
        for number, one in enumerate(settings)
    ]


def ended(found: list[tuple[Job, Trial]]) -> dict[int, Trial]:
    return {job.number: trial for job, trial in found}


def lines(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "epochs").read_text().splitlines()]


def test_on_one_device_trials_follow_one_another_in_this_process(tmp_path: Path) -> None:
    heard = Heard()
    found = list(run_jobs(jobs(tmp_path, [1e-4, 1e-3]), ONE, heard, of=9))
    assert [job.number for job, _ in found] == [0, 1]
    assert [line[0] for line in lines(tmp_path)] == ["0", "0", "1", "1"]
    assert {line[3] for line in lines(tmp_path)} == {str(os.getpid())}
    assert heard.started == [
        (f"trial {trial}/9, epoch {epoch}/20", 1) for trial in (1, 2) for epoch in (1, 2)
    ]
    assert heard.advanced == 4


def test_on_two_each_trial_has_a_process_of_its_own_and_the_same_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "buildmap")
    heard = Heard()
    side_by_side = jobs(tmp_path, [1e-5, 1e-4, 1e-3], how=learn_and_log)
    at_once = ended(list(run_jobs(side_by_side, TWO, heard, of=9)))
    pids = {line[3] for line in lines(tmp_path)}
    assert len(pids) == 3 and str(os.getpid()) not in pids
    assert {line[2] for line in lines(tmp_path)} == {"cpu"}
    assert (heard.started, heard.advanced) == ([("trials", 3)], 3)
    told = {f"trial {trial}/9, epoch {epoch}/20" for trial in (1, 2, 3) for epoch in (1, 2)}
    assert set(heard.notes) == told
    logged = {record.getMessage() for record in caplog.records if record.name == "buildmap.test"}
    assert logged == {f"trial {number + 1}/9: {number} at 100 %" for number in range(3)}
    assert at_once == ended(list(run_jobs(side_by_side, ONE, Silent(), of=9)))
    assert len(lines(tmp_path)) == 6


def test_who_is_killed_starved_or_broken_takes_nobody_along(tmp_path: Path) -> None:
    rates = [KILLED, HUNGRY, BUGGY, 1e-3]
    found = ended(list(run_jobs(jobs(tmp_path, rates), TWO, Silent(), of=4)))
    assert [found[number].model is not None for number in range(4)] == [False, False, False, True]
    assert "signal 9" in (found[0].failure or "")
    assert found[1].failure == "too little memory; lower batch_size"
    assert "ended with code 1" in (found[2].failure or "")
    assert not any(trial.diverged for trial in found.values())


def test_what_would_end_every_trial_ends_the_others_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a raster is broken") as caught:
        list(run_jobs(jobs(tmp_path, [WRONG, 1e-3], epochs=20), TWO, Silent(), of=2))
    assert caught.value.hint == "mend it"
    assert multiprocessing.active_children() == []


def test_a_search_on_two_devices_comes_to_the_same_as_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.search.run.draw", lambda *_: True)
    grid, halving = {"loss.bce": ["0.4", "0.5"]}, Halving(min_epochs=6)
    one = found_in(tmp_path / "one", grid, halving)
    two = found_in(tmp_path / "two", grid, halving, device="cpu:2")
    assert paths_aside(one) == paths_aside(two)
    assert sorted(epochs_run(tmp_path / "one")) == sorted(epochs_run(tmp_path / "two"))


def test_a_killed_search_leaves_no_trial_at_work_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.search.run.draw", lambda *_: True)
    context = multiprocessing.get_context("forkserver")  # that of the tests above: it has imported torch
    context.set_forkserver_preload(["buildmap.search.processes"])
    driver = context.Process(target=search_slowly, args=(tmp_path,))
    driver.start()
    log = tmp_path / "epochs"
    while driver.is_alive() and not (log.exists() and len(log.read_text().splitlines()) > 3):
        time.sleep(0.01)
    driver.kill()
    driver.join()
    trials = {int(line[3]) for line in lines(tmp_path)}
    assert len(trials) == 2
    end = time.monotonic() + 60
    while any(map(psutil.pid_exists, trials)) and time.monotonic() < end:
        time.sleep(0.01)
    before = len(epochs_run(tmp_path))
    found = found_in(tmp_path, GRID)
    counts = Counter(epochs_run(tmp_path))
    assert 3 < before < found.epochs == sum(counts.values()) == len(counts) == 40
    assert found.best == {"loss.bce": "0.5"}


def learn_and_log(
    data: Path, output: Path, preset: Preset, options: TrainOptions, *, progress: Progress | None
) -> TrainSummary:
    logging.getLogger("buildmap.test").info("%s at 100 %%", output.stem)
    return learn(data, output, preset, options, progress=progress)
