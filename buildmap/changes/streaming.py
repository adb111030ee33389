"""Two sorted layers side by side, from north to south: first for their shift, then for what has changed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from buildmap.changes.buildings import Buildings
from buildmap.changes.columns import ChangeBatch
from buildmap.changes.inventory import drop_removed
from buildmap.changes.links import Linker
from buildmap.changes.moving import move_back, points_of
from buildmap.changes.rows import Telling, tell
from buildmap.changes.shifts import ShiftField, ShiftSurvey
from buildmap.changes.sorting import SortedLayer
from buildmap.changes.verdicts import Judging, judge
from buildmap.errors import Stopped
from buildmap.execution.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """Two layers that were sorted alike."""

    before: SortedLayer
    """Of the first date."""
    after: SortedLayer
    """Of the second."""
    height: float
    """Of a strip, in units of the working CRS."""
    progress: Progress
    """Hears of every strip."""
    stop: Callable[[], bool]
    """Once it says True, `Stopped` is raised."""

    def walk(self, task: str) -> Iterator[tuple[Buildings, Buildings, float]]:
        """Give the buildings of both dates strip by strip, and the y above which none reaches any more."""
        numbers = np.union1d(self.before.chunks.strip, self.after.chunks.strip)[::-1].tolist()
        self.progress.start(task, len(numbers))
        for number in numbers:
            if self.stop():
                raise Stopped("interrupted", hint="run it again")
            yield drop_removed(self.before.strip(number)), self.after.strip(number), number * self.height
            self.progress.advance()


def survey_shift(strips: Strips, *, tolerance: float, block: float, unit_m: float) -> ShiftField:
    """Look how far AFTER lies off BEFORE.

    Args:
        strips: Both layers.
        tolerance: The longest shift, in units of the working CRS.
        block: Side of the squares that have a shift of their own, likewise.
        unit_m: Metres of such a unit.
    """
    survey = ShiftSurvey(block=block, tolerance=tolerance, unit_m=unit_m)
    if tolerance > 0:
        for before, after, below in strips.walk("shift"):
            survey.push(points_of(before), points_of(after), below=below)
    return survey.finish()


def compare(strips: Strips, shift: ShiftField, judging: Judging, telling: Telling) -> Iterator[ChangeBatch]:
    """Say of all buildings what became of them; the rows and their order do not depend on the strips."""
    linker = Linker()
    rise = max(0.0, -min(shift.blocks.dy.min(initial=0.0), shift.overall[1]))
    for before, after, below in strips.walk("compare"):
        linked = linker.push(before, move_back(after, shift), below=below + rise)
        if len(linked.before) or len(linked.after):
            yield tell(linked, judge(linked.overlaps, judging), telling)
    linked = linker.finish()
    if len(linked.before) or len(linked.after):
        yield tell(linked, judge(linked.overlaps, judging), telling)
