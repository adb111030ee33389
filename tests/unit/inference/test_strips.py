"""Strips from elsewhere: what fails is an error, or a gap where that was asked for."""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buildmap.errors import StorageError
from buildmap.execution.executor import Done
from buildmap.execution.journal import Journal
from buildmap.execution.progress import Silent
from buildmap.inference.job import Job
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import prepare
from buildmap.inference.strips import predict_elsewhere, record_of, tally_of
from buildmap.raster.parts import read_part
from tests.networks import write_onnx
from tests.scenes import write_raster


class Failing:
    """Does every step but the second, in reverse order."""

    def run(
        self, task: Callable[[int], Any], steps: Iterable[int], *, stop: Callable[[], bool]
    ) -> Generator[Done[Any]]:
        assert not stop()
        for step in reversed(list(steps)):
            error = "StorageError: bad block" if step == 1 else None
            yield Done(step=step, result=None if error else task(step), error=error)


def job(folder: Path, *, skip_errors: bool) -> Job:
    scene = write_raster(folder / "in.tif", np.full((3, 200, 100), 9, np.uint8))
    prediction = Prediction(models=(write_onnx(folder / "m.onnx"),), skip_errors=skip_errors)
    work, _ = prepare((str(scene),), prediction, Running(), is_layer=False)
    work.reader.close()
    return work.job


def elsewhere(job: Job, journal: Journal) -> list[int]:
    done = predict_elsewhere(Failing(), job, journal, [0, 1, 2], progress=Silent(), stop=lambda: False)
    return [step for step, _ in done]


def test_a_strip_that_fails_stops_the_run_and_keeps_what_is_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work", {}, suffix=".tif")
    with pytest.raises(StorageError, match="strip 1 failed twice: StorageError: bad block"):
        elsewhere(job(tmp_path, skip_errors=False), journal)
    assert journal.done() == {2}


def test_a_strip_that_fails_is_a_gap_where_that_was_asked_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work", {}, suffix=".tif")
    assert elsewhere(job(tmp_path, skip_errors=True), journal) == [2, 1, 0]
    assert [(core.row_off, core.height) for core in tally_of(journal, 1).gaps] == [(80, 48)]
    assert (read_part(journal.product(1), record_of(journal, 1).part).rows == 255).all()
    assert tally_of(journal, 2).gaps == ()
