"""A search on two processes that takes its time, to be killed from outside."""

import time
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.search.plan import SearchPlan
from buildmap.search.run import search
from buildmap.train import TrainOptions, TrainSummary
from tests.unit.search.fakes import FAKE, learn

GRID = {"loss.bce": ["0.4", "0.5"]}


class Slow:
    """Makes every epoch take a while, by listening to it."""

    def start(self, task: str, total: int) -> None:
        del task, total
        time.sleep(0.3)

    def advance(self, steps: int = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def learn_for_long(
    data: Path, output: Path, preset: Preset, options: TrainOptions, *, progress: Progress | None
) -> TrainSummary:
    """Train in no time, and wait before each epoch."""
    del progress
    return learn(data, output, preset, options, progress=Slow())


def search_slowly(folder: Path) -> None:
    """Run two trials of 20 epochs side by side.

    They are forks of this process, which has imported torch: a server of its own would do so once more.
    """
    options = TrainOptions(device="cpu:2")
    with patch("buildmap.search.processes.get_context", lambda _: get_context("fork")):
        search(folder, folder / "m.safetensors", FAKE, SearchPlan(grid=GRID), options, learn=learn_for_long)
