"""Strips of rows as they stream by, each with the rows around it that some measures need."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Some rows of the compared window, all columns."""

    window: Window
    """Of the grid."""
    values: NDArray[np.uint8]
    """(rows, cols) predicted probability as 0..254."""
    truth: NDArray[np.bool_]
    """(rows, cols) True = building."""
    counted: NDArray[np.bool_]
    """(rows, cols) True = known on both sides, and on the ground asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounded:
    """A strip and the rows above and below it."""

    window: Window
    """Of the strip, without the rows around it."""
    rows: slice
    """Where the strip lies in the arrays."""
    values: NDArray[np.uint8]
    """(rows + halo, cols) predicted probability as 0..254."""
    truth: NDArray[np.bool_]
    """(rows + halo, cols) True = building."""
    counted: NDArray[np.bool_]
    """(rows + halo, cols) True = this pixel counts."""
    at_top: bool
    """The first row of the arrays is the first of the compared window."""
    at_bottom: bool
    """The last row of the arrays is the last of the compared window; not told where the halo is whole."""

    @property
    def own(self) -> Strip:
        """The strip alone."""
        return Strip(
            window=self.window,
            values=self.values[self.rows],
            truth=self.truth[self.rows],
            counted=self.counted[self.rows],
        )


def surround(strips: Iterable[Strip], halo: int) -> Iterator[Surrounded]:
    """Give each strip with `halo` rows above and below, fewer where the compared window ends.

    No row is read twice; what is held follows from the strips and the halo, not from the window.

    Args:
        strips: From top to bottom, without a gap.
        halo: Rows.
    """
    held: deque[Strip] = deque()
    waiting = 0  # held[waiting] is the next to be given
    dropped = 0
    for strip in strips:
        held.append(strip)
        while _rows(held, waiting + 1, len(held)) >= halo and waiting < len(held):
            yield _gather(held, waiting, halo, at_top=not dropped, ended=False)
            waiting += 1
            while waiting and _rows(held, 1, waiting) >= halo:
                held.popleft()
                waiting -= 1
                dropped += 1
    for index in range(waiting, len(held)):
        yield _gather(held, index, halo, at_top=not dropped, ended=True)


def _rows(held: deque[Strip], start: int, stop: int) -> int:
    return sum(held[index].window.height for index in range(start, stop))


def _gather(held: deque[Strip], index: int, halo: int, *, at_top: bool, ended: bool) -> Surrounded:
    before, height = _rows(held, 0, index), held[index].window.height
    total = _rows(held, 0, len(held))
    start, stop = max(before - halo, 0), min(before + height + halo, total)
    parts, row = [], 0
    for strip in held:
        rows = slice(max(start - row, 0), max(stop - row, 0))
        row += strip.window.height
        if rows.start < strip.window.height and rows.stop > 0:
            parts.append((strip.values[rows], strip.truth[rows], strip.counted[rows]))
    values, truth, counted = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
    return Surrounded(
        window=held[index].window,
        rows=slice(before - start, before - start + height),
        values=values,
        truth=truth,
        counted=counted,
        at_top=at_top and start == 0,
        at_bottom=ended and stop == total,
    )
