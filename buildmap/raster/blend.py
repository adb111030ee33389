"""Joining overlapping windows without a seam.

The outer part of a window is spoiled by the network's padding and has weight zero. Across the line
between two cores a cosine ramp hands over from one window to the next; nothing tapers at the
raster's own border. Ramps of neighbours add up to one, so sums need no division.

Sums are whole numbers (`ONE` is probability one), so they do not depend on the order of adding. A
strip is summed on its own and keeps the rows in which it overlaps its neighbours as unfinished sums;
two strips meet by adding those. So the result does not depend on how strips are shared among workers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.seams import SeamAudit
from buildmap.raster.windows import PlannedWindow, Window

ONE = 254 * 256
"""Weight x probability of one, in sums."""
INVALID = 65535
"""In sums: a pixel without data."""
NODATA = 255
"""In finished rows: a pixel without data."""
_WIDEST_RAMP_PX = 64
_ROWS = 64
"""Rows finished at a time: all at once would take as much memory again as the sums."""


def ramp_width(halo_px: int) -> int:
    """Give the width of the ramp in pixels: the middle of the overlap, where both windows are right."""
    return min(halo_px, _WIDEST_RAMP_PX) // 2 * 2


def handover(core_start: int, core_stop: int, extent: int, ramp_px: int) -> tuple[int, NDArray[np.float32]]:
    """Weigh one axis of a window: one on its core, a ramp across each border it shares.

    Args:
        core_start: First pixel of the core.
        core_stop: One past its last pixel.
        extent: Pixels of the raster along this axis.
        ramp_px: Width of the ramp, half of it on either side of the core's border; even, and no wider
            than any core but the last.

    Returns:
        First pixel with a weight, and the weights from there on.
    """
    half = ramp_px // 2
    rise = _rise(ramp_px)
    start = core_start - half if core_start > 0 else 0
    stop = min(core_stop + half if core_stop < extent else extent, extent)
    weights = np.ones(stop - start, np.float32)
    if core_start > 0:
        ahead = min(ramp_px, len(weights))
        weights[:ahead] *= rise[:ahead]
    if core_stop < extent:
        fall = (1 - rise)[: extent - (core_stop - half)]
        weights[core_stop - half - start :] *= fall
    return start, weights


def _rise(ramp_px: int) -> NDArray[np.float32]:
    steps = (np.arange(ramp_px, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(ramp_px, 1))
    rise: NDArray[np.float32] = np.sin(steps) ** 2
    return rise


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a window that counts, and how much."""

    window: Window
    """In the raster: the core, and half a ramp more where a neighbour follows."""
    cut: tuple[slice, slice]
    """Rows and columns of it in what the window reads."""
    down: NDArray[np.float32]
    """(rows,) weights."""
    across: NDArray[np.float32]
    """(cols,) weights."""
    above: int
    """Rows of it that the row of cores above shares."""
    below: int
    """Rows of it that the row of cores below shares."""


def share(planned: PlannedWindow, *, width: int, height: int, ramp_px: int) -> Share:
    """Give what a window of a `width` x `height` raster adds to the sums."""
    core, read = planned.core, planned.read
    top, down = handover(core.row_off, core.row_off + core.height, height, ramp_px)
    left, across = handover(core.col_off, core.col_off + core.width, width, ramp_px)
    cut = (
        slice(top - read.row_off, top - read.row_off + len(down)),
        slice(left - read.col_off, left - read.col_off + len(across)),
    )
    window = Window(col_off=left, row_off=top, width=len(across), height=len(down))
    core_stop = core.row_off + core.height
    return Share(
        window=window,
        cut=cut,
        down=down,
        across=across,
        above=min(ramp_px, len(down)) if core.row_off else 0,
        below=top + len(down) - (core_stop - ramp_px // 2) if core_stop < height else 0,
    )


def weigh(probability: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Turn probability, (..., rows, cols), into summands: whole numbers, `ONE` at one."""
    summands = probability * np.float32(ONE)
    summands *= weights
    return summands.astype(np.uint16)  # rounded down: `finish` rounds, once


def accumulate(sums: NDArray[np.uint16], summands: NDArray[np.uint16]) -> None:
    """Add in place; what is `INVALID` on either side stays so."""
    lost = (sums == INVALID) | (summands == INVALID)
    sums += summands
    np.copyto(sums, np.uint16(INVALID), where=lost)


def finish(sums: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Turn complete sums into stored values: 0..254 is probability times 254, 255 no data."""
    stored = np.empty(sums.shape, np.uint8)
    for row in range(0, len(sums), _ROWS):
        # No more than that, so that INVALID becomes NODATA.
        rounded = np.minimum(sums[row : row + _ROWS], np.uint16(INVALID - 128))
        rounded += np.uint16(128)
        rounded >>= 8
        stored[row : row + _ROWS] = rounded
    return stored


def enlarge(pixels: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """Repeat every pixel of (rows, cols) `scale` times along either axis."""
    return pixels if scale == 1 else pixels.repeat(scale, axis=0).repeat(scale, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StripPart:
    """What one strip knows of the raster: finished rows, and sums where it overlaps its neighbours."""

    top: NDArray[np.uint16]
    """(rows, width) sums shared with the strip above; no rows in the first strip."""
    rows: NDArray[np.uint8]
    """(rows, width) finished."""
    bottom: NDArray[np.uint16]
    """(rows, width) sums shared with the strip below; no rows in the last strip."""


class StripBuffer:
    """Sums the windows of one strip, a row of cores at a time."""

    def __init__(self, *, width: int, ramp_px: int, threshold: float) -> None:
        """Start above a strip's first row.

        Args:
            width: Columns of the raster.
            ramp_px: Width of the cosine ramp in pixels; even, at most twice the halo, and no wider than
                any core but the last.
            threshold: Of the seam audit.
        """
        self.seams = SeamAudit()
        self._width, self._ramp_px, self._threshold = width, ramp_px, threshold
        self._sums = np.zeros((0, width), np.uint16)
        self._above = self._below = 0
        self._top: NDArray[np.uint16] | None = None
        self._carried = self._sums
        self._rows: list[NDArray[np.uint8]] = []

    def add(self, placed: Share, summands: NDArray[np.uint16] | None) -> None:
        """Add one window of the current row of cores.

        Args:
            placed: Where it goes; all windows up to the next `end_row` share their rows.
            summands: (rows, cols) of the window's share, `INVALID` where there is no data; None if
                there is none at all.
        """
        window = placed.window
        if not len(self._sums):
            self._sums = np.zeros((window.height, self._width), np.uint16)
            self._above, self._below = placed.above, placed.below
        part = self._sums[:, window.col_off : window.col_off + window.width]
        if summands is None:
            part[:] = INVALID
            return
        self._audit(part, summands, placed)
        accumulate(part, summands)

    def end_row(self, outside: NDArray[np.bool_] | None = None) -> None:
        """Close a row of cores; `outside`, (rows, width) of its sums, is True where no data is wanted."""
        sums = self._sums
        if outside is not None:
            np.copyto(sums, np.uint16(INVALID), where=outside)
        above, inside, below = np.split(sums, [self._above, len(sums) - self._below])
        if self._top is None:
            self._top = above.copy()
        else:
            self._rows.append(self._join(self._carried, above))
        self._rows.append(finish(inside))
        self._carried = below.copy()
        self._sums = np.zeros((0, self._width), np.uint16)

    def part(self) -> StripPart:
        """Give the strip, once its last row of cores is closed."""
        if self._top is None:
            raise ValueError("no row of cores was closed")
        return StripPart(top=self._top, rows=np.concatenate(self._rows), bottom=self._carried)

    def _join(self, above: NDArray[np.uint16], below: NDArray[np.uint16]) -> NDArray[np.uint8]:
        audit_rows(above, below, self.seams, ramp_px=self._ramp_px, threshold=self._threshold)
        return join(above, below)

    def _audit(self, part: NDArray[np.uint16], summands: NDArray[np.uint16], placed: Share) -> None:
        rows, border, weights = placed.down == 1, self._ramp_px // 2, placed.across
        if placed.window.col_off and border and border < len(weights):
            there = _probability(part[rows, border], 1 - weights[border])
            here = _probability(summands[rows, border], weights[border])
            self.seams.compare(there, here, self._threshold)
        inside = np.flatnonzero(weights == 1)
        if len(inside) > 1:
            middle = int(inside[len(inside) // 2 - 1])
            one, next_to_it = (_probability(summands[rows, middle + i], np.float32(1)) for i in (0, 1))
            self.seams.sample_inside(one, next_to_it)


def join(above: NDArray[np.uint16], below: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Finish the rows two strips share: (rows, width) sums of either."""
    sums = above.copy()
    accumulate(sums, below)
    return finish(sums)


def audit_rows(
    above: NDArray[np.uint16], below: NDArray[np.uint16], seams: SeamAudit, *, ramp_px: int, threshold: float
) -> None:
    """Count the pixels of the line where the strip above hands over to the one below."""
    border = ramp_px // 2
    if border and border < len(above):
        weight = _rise(ramp_px)[border]
        one, other = _probability(above[border], 1 - weight), _probability(below[border], weight)
        seams.compare(one, other, threshold)


def _probability(summands: NDArray[np.uint16], weight: np.floating) -> NDArray[np.float32]:
    """Undo `weigh` where the weight is not small; NaN where invalid."""
    values = summands.astype(np.float32) / (weight * np.float32(ONE))
    return np.where(summands == INVALID, np.float32(np.nan), values)
