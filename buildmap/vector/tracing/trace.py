"""What is known between two rows of a mask whose outlines are followed: plain arrays, and room in them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import inlined

NODATA = 255
"""Value of a pixel of which nothing is known; never a building."""

CORNERS, LABELS, ABOVE, ROW = 0, 1, 2, 3
"""What `Trace.fill` holds where."""

END = 2**31 - 1
"""Behind the last of the ends in a row."""


class Trace(NamedTuple):
    """What is known between two rows: outlines and components still open, and the row above."""

    fill: NDArray[np.int64]
    """(4,) corners in use, labels in use, run ends in the row above, the number of the next row."""
    col: NDArray[np.int32]
    """Of a corner, in pixel corners."""
    row: NDArray[np.int32]
    """Of a corner, in pixel corners."""
    following: NDArray[np.int64]
    """Next corner on the outline."""
    label: NDArray[np.int64]
    """Of the building a corner belongs to."""
    twin: NDArray[np.int8]
    """Steps to the corner at the same point: 1, -1 or none, 0."""
    parent: NDArray[np.int64]
    """Of a label, in the union-find forest."""
    pixels: NDArray[np.int64]
    """Pixels of a root label."""
    total: NDArray[np.int64]
    """Sum of the values of these pixels."""
    peak: NDArray[np.uint8]
    """Greatest value of these pixels."""
    last: NDArray[np.int64]
    """Last row of a root label."""
    inside: NDArray[np.uint8]
    """1 where a pixel of the current row is a building, 0 elsewhere and in some bytes behind its end."""
    ends: NDArray[np.int32]
    """Starts and ends of the runs in the current row, in turn, as columns of pixel corners."""
    ends_above: NDArray[np.int32]
    """The same in the row above."""
    tips: NDArray[np.int64]
    """The corner at the upper end of the vertical edge under each of `ends`."""
    tips_above: NDArray[np.int64]
    """The same in the row above."""
    runs: NDArray[np.int64]
    """Labels of the runs in the current row."""
    runs_above: NDArray[np.int64]
    """The same in the row above."""


class Runs(NamedTuple):
    """Runs of building pixels, by row and then from left to right; two in a row never touch."""

    row: NDArray[np.int32]
    """(k,)"""
    start: NDArray[np.int32]
    """(k,) first column."""
    stop: NDArray[np.int32]
    """(k,) column behind the last."""
    total: NDArray[np.int64]
    """(k,) sum of the values."""
    peak: NDArray[np.uint8]
    """(k,) greatest value."""


def new_trace(width: int, *, first_row: int = 0) -> Trace:
    """Start above the first row of a mask, which is row `first_row` of the raster."""
    capacity = 32 * width + 1024  # for a thousand dense rows; what is not used takes no memory
    return Trace(
        fill=np.array([0, 0, 0, first_row]),
        col=np.empty(capacity, np.int32),
        row=np.empty(capacity, np.int32),
        following=np.empty(capacity, np.int64),
        label=np.empty(capacity, np.int64),
        twin=np.empty(capacity, np.int8),
        parent=np.empty(capacity, np.int64),
        pixels=np.empty(capacity, np.int64),
        total=np.empty(capacity, np.int64),
        peak=np.empty(capacity, np.uint8),
        last=np.empty(capacity, np.int64),
        inside=np.zeros(8 * (width // 8 + 1), np.uint8),
        ends=np.empty(width + 2, np.int32),
        ends_above=np.full(width + 2, END, np.int32),
        tips=np.empty(width + 2, np.int64),
        tips_above=np.empty(width + 2, np.int64),
        runs=np.empty(width // 2 + 1, np.int64),
        runs_above=np.empty(width // 2 + 1, np.int64),
    )


def with_room(trace: Trace, width: int) -> Trace:
    """Give twice the room to corners or labels, whichever the next row may need."""
    grown = {}
    if not fits(trace.fill[CORNERS], trace.col, width):
        grown = {name: getattr(trace, name) for name in ("col", "row", "following", "label", "twin")}
    if not fits(trace.fill[LABELS], trace.parent, width):
        grown |= {name: getattr(trace, name) for name in ("parent", "pixels", "total", "peak", "last")}
    return trace._replace(**{name: np.concatenate([old, np.empty_like(old)]) for name, old in grown.items()})


@inlined
def fits(used: int, room: NDArray[np.generic], width: int) -> bool:
    """Tell whether there is room for what a row may add."""
    return bool(used + 2 * width + 4 <= room.shape[0])
