"""A search on two processes, to be killed from outside: `python -m tests.unit.search.slow_search FOLDER`."""

import sys
import time
from pathlib import Path

from buildmap.execution.progress import Progress
from buildmap.preset import Preset
from buildmap.search.plan import Halving, SearchPlan
from buildmap.search.run import search
from buildmap.train import TrainOptions, TrainSummary
from tests.unit.search.fakes import FAKE, learn

GRID, HALVING = {"loss.bce": ["0.4", "0.5"]}, Halving(min_epochs=6)


class Slow:
    """Makes every epoch take a while, by listening to it."""

    def start(self, task: str, total: int) -> None:
        del task, total
        time.sleep(0.2)

    def advance(self, steps: int = 1) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def learn_for_long(
    data: Path, output: Path, preset: Preset, options: TrainOptions, *, progress: Progress | None
) -> TrainSummary:
    """Train in no time, and wait after each epoch."""
    del progress
    return learn(data, output, preset, options, progress=Slow())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    search(
        folder,
        folder / "m.safetensors",
        FAKE,
        SearchPlan(grid=GRID, halving=HALVING),
        TrainOptions(device="cpu:2"),
        learn=learn_for_long,
    )
