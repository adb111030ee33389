"""Following the pixel edges of a mask, row by row: compiled loops over plain arrays.

Buildings are 4-connected. A corner is a point of the pixel-corner lattice where an outline turns. Between
two rows, every corner is where a run of building pixels starts or ends in one row only, or where it
ends above and starts below: there two corners, twins, lie at one point, because diagonal pixels are
not connected. Outlines have the building on their left in a picture whose rows grow upwards: down at
the start of a run, rightwards under it, up at its end, leftwards above it.

Corners are made in the order (row, column), so their numbers sort them, whatever the strips.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined

NODATA = 255
"""Never a building."""

_CORNERS, _LABELS, _ABOVE, _ROW = 0, 1, 2, 3
_UNSEEN, _TAKEN = -1, -2


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
    last: NDArray[np.int64]
    """Last row of a root label."""
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


class Rings(NamedTuple):
    """Closed rings, in the order in which they were found."""

    corners: NDArray[np.int32]
    """(n, 2) columns and rows; the first corner of a ring is its topmost leftmost, and is repeated last."""
    offsets: NDArray[np.int64]
    """(rings + 1,) where each ring starts in `corners`."""
    first: NDArray[np.int64]
    """(rings,) the number of the first corner: sorts rings by row and column."""
    label: NDArray[np.int64]
    """(rings,) the root label of the building."""


def new_trace(width: int) -> Trace:
    """Start above the first row of a mask."""
    capacity = 8 * width + 1024
    return Trace(
        fill=np.zeros(4, np.int64),
        col=np.empty(capacity, np.int32),
        row=np.empty(capacity, np.int32),
        following=np.empty(capacity, np.int64),
        label=np.empty(capacity, np.int64),
        twin=np.empty(capacity, np.int8),
        parent=np.empty(capacity, np.int64),
        pixels=np.empty(capacity, np.int64),
        total=np.empty(capacity, np.int64),
        last=np.empty(capacity, np.int64),
        ends=np.empty(width + 2, np.int32),
        ends_above=np.empty(width + 2, np.int32),
        tips=np.empty(width + 2, np.int64),
        tips_above=np.empty(width + 2, np.int64),
        runs=np.empty(width // 2 + 1, np.int64),
        runs_above=np.empty(width // 2 + 1, np.int64),
    )


def with_room(trace: Trace, width: int) -> Trace:
    """Give twice the room to corners or labels, whichever the next row may need."""
    grown = {}
    if not _fits(trace.fill[_CORNERS], trace.col, width):
        grown = {name: getattr(trace, name) for name in ("col", "row", "following", "label", "twin")}
    if not _fits(trace.fill[_LABELS], trace.parent, width):
        grown |= {name: getattr(trace, name) for name in ("parent", "pixels", "total", "last")}
    return trace._replace(**{name: np.concatenate([old, np.empty_like(old)]) for name, old in grown.items()})


@compiled
def follow(trace: Trace, strip: NDArray[np.uint8], lowest: int, start: int) -> int:
    """Follow the outlines through the rows of a strip, from row `start` of it.

    Args:
        trace: Updated in place.
        strip: (rows, width), values from `lowest` to 254 are buildings.
        lowest: 0..255.
        start: First row of the strip to look at.

    Returns:
        The first row not done, because `trace` has no room for it.
    """
    for r in range(start, strip.shape[0]):
        width = strip.shape[1]
        if not (
            _fits(trace.fill[_CORNERS], trace.col, width) and _fits(trace.fill[_LABELS], trace.parent, width)
        ):
            return r
        found = _find_runs(trace, strip[r], lowest)
        _link_corners(trace, found)
        trace.ends_above[:found] = trace.ends[:found]
        trace.tips_above[:found] = trace.tips[:found]
        trace.runs_above[: found // 2] = trace.runs[: found // 2]
        trace.fill[_ABOVE] = found
        trace.fill[_ROW] += 1
    return int(strip.shape[0])


@compiled
def corners_in_use(trace: Trace) -> int:
    """Count the corners held."""
    return int(trace.fill[_CORNERS])


@compiled
def close_rings(trace: Trace) -> Rings:
    """Collect the rings of all buildings that are finished; `forget_finished` then drops them.

    A ring that meets itself at a pair of twins is split there, so every ring is simple. The loops of
    one ring are nested and never interlaced, which lets a stack find all of them in one walk.
    """
    count = trace.fill[_CORNERS]
    place = np.full(count, _UNSEEN, np.int64)
    stack = np.empty(count, np.int64)
    corners = np.empty((count + count // 4 + 1, 2), np.int32)
    offsets = np.zeros(count // 4 + 2, np.int64)
    first = np.empty(count // 4 + 1, np.int64)
    label = np.empty(count // 4 + 1, np.int64)
    rings = 0
    for start in range(count):
        root = _find(trace.parent, trace.label[start])
        if place[start] != _UNSEEN or trace.last[root] >= trace.fill[_ROW] - 1:
            continue
        depth = 0
        corner = start
        while True:
            twin = corner + trace.twin[corner]
            if twin != corner and place[twin] >= 0:
                loop = stack[place[twin] : depth]
                depth = place[twin]
                first[rings], offsets[rings + 1] = _write_ring(trace, loop, place, corners, offsets[rings])
                label[rings] = root
                rings += 1
            stack[depth] = corner
            place[corner] = depth
            depth += 1
            corner = trace.following[corner]
            if corner == start:
                break
        first[rings], offsets[rings + 1] = _write_ring(trace, stack[:depth], place, corners, offsets[rings])
        label[rings] = root
        rings += 1
    return Rings(
        corners[: offsets[rings]].copy(),
        offsets[: rings + 1].copy(),
        first[:rings].copy(),
        label[:rings].copy(),
    )


@compiled
def forget_finished(trace: Trace) -> None:
    """Keep only the corners and labels of buildings that may go on, in their order."""
    corners, labels = trace.fill[_CORNERS], trace.fill[_LABELS]
    roots = np.empty(labels, np.int64)
    for label in range(labels):
        roots[label] = _find(trace.parent, label)
    new_label = np.full(labels, -1, np.int64)
    kept = 0
    for label in range(labels):
        if roots[label] == label and trace.last[label] >= trace.fill[_ROW] - 1:
            new_label[label] = kept
            trace.parent[kept] = kept
            trace.pixels[kept] = trace.pixels[label]
            trace.total[kept] = trace.total[label]
            trace.last[kept] = trace.last[label]
            kept += 1
    trace.fill[_LABELS] = kept
    for run in range(trace.fill[_ABOVE] // 2):
        trace.runs_above[run] = new_label[roots[trace.runs_above[run]]]
    moved = np.full(corners + 1, -1, np.int64)  # the last stands for 'no next corner yet', -1
    kept = 0
    for corner in range(corners):
        if new_label[roots[trace.label[corner]]] >= 0:
            moved[corner] = kept
            kept += 1
    trace.fill[_CORNERS] = kept
    for old in range(corners):
        new = moved[old]
        if new >= 0:
            trace.col[new] = trace.col[old]
            trace.row[new] = trace.row[old]
            trace.following[new] = moved[trace.following[old]]
            trace.label[new] = new_label[roots[trace.label[old]]]
            trace.twin[new] = trace.twin[old] if moved[old + trace.twin[old]] >= 0 else 0
    for end in range(trace.fill[_ABOVE]):
        trace.tips_above[end] = moved[trace.tips_above[end]]


@inlined
def _fits(used: int, room: NDArray[np.generic], width: int) -> bool:
    return bool(used + 2 * width + 4 <= room.shape[0])


@inlined
def _find(parent: NDArray[np.int64], label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = int(parent[label])
    return label


@inlined
def _join(trace: Trace, one: int, other: int) -> int:
    """Make two root labels one; the older stays."""
    if one == other:
        return one
    kept, gone = min(one, other), max(one, other)
    trace.parent[gone] = kept
    trace.pixels[kept] += trace.pixels[gone]
    trace.total[kept] += trace.total[gone]
    trace.last[kept] = max(trace.last[kept], trace.last[gone])
    return kept


@inlined
def _find_runs(trace: Trace, values: NDArray[np.uint8], lowest: int) -> int:
    """Find and label the runs of a row, and count their pixels in; give twice their number."""
    width = values.shape[0]
    found, above, col = 0, 0, 0
    while True:
        while col < width and not lowest <= values[col] < NODATA:
            col += 1
        if col == width:
            return found
        start, total = col, 0
        while col < width and lowest <= values[col] < NODATA:
            total += int(values[col])
            col += 1
        while above < trace.fill[_ABOVE] and trace.ends_above[above + 1] <= start:
            above += 2
        label = -1
        touching = above
        while touching < trace.fill[_ABOVE] and trace.ends_above[touching] < col:
            root = _find(trace.parent, trace.runs_above[touching // 2])
            label = root if label < 0 else _join(trace, label, root)
            touching += 2
        if label < 0:
            label = int(trace.fill[_LABELS])
            trace.fill[_LABELS] += 1
            trace.parent[label] = label
            trace.pixels[label] = 0
            trace.total[label] = 0
        trace.pixels[label] += col - start
        trace.total[label] += total
        trace.last[label] = trace.fill[_ROW]
        trace.ends[found], trace.ends[found + 1] = start, col
        trace.runs[found // 2] = label
        found += 2


@inlined
def _add_corner(trace: Trace, col: int, label: int) -> int:
    corner = int(trace.fill[_CORNERS])
    trace.fill[_CORNERS] += 1
    trace.col[corner] = col
    trace.row[corner] = trace.fill[_ROW]
    trace.following[corner] = -1
    trace.label[corner] = label
    trace.twin[corner] = 0
    return corner


@inlined
def _link_corners(trace: Trace, found: int) -> None:
    """Make the corners between the row above and the current row, and link them to those before.

    `before` is the corner on the left that an edge along this line comes from or goes to.
    """
    ends_above = trace.fill[_ABOVE]
    i, j, before = 0, 0, -1
    while i < ends_above or j < found:
        here_above = i < ends_above and (j == found or trace.ends_above[i] <= trace.ends[j])
        here_below = j < found and (i == ends_above or trace.ends[j] <= trace.ends_above[i])
        if here_above and here_below and i % 2 == j % 2:
            trace.tips[j] = trace.tips_above[i]
        elif here_above and here_below:
            before = _link_twins(trace, i, j, before)
        else:
            before = _link_one(trace, i, j, here_above, before)
        i += here_above
        j += here_below


@inlined
def _link_one(trace: Trace, i: int, j: int, here_above: bool, before: int) -> int:
    """Add the corner where end `i` above, or end `j` below, meets the line alone."""
    if here_above:
        corner = _add_corner(trace, trace.ends_above[i], trace.runs_above[i // 2])
        tip = trace.tips_above[i]
        if i % 2 == 0:
            trace.following[tip] = corner
        else:
            trace.following[corner] = tip
    else:
        corner = _add_corner(trace, trace.ends[j], trace.runs[j // 2])
        trace.tips[j] = corner
    if i % 2 != j % 2:  # building on one side of the line only: an edge lies on the left
        if i % 2 == 1:
            trace.following[before] = corner
        else:
            trace.following[corner] = before
    return corner


@inlined
def _link_twins(trace: Trace, i: int, j: int, before: int) -> int:
    """Add the two corners where buildings meet at a diagonal: first the left one's, then the right one's."""
    tip = trace.tips_above[i]
    if i % 2 == 1:
        left = _add_corner(trace, trace.ends_above[i], trace.runs_above[i // 2])
        right = _add_corner(trace, trace.ends[j], trace.runs[j // 2])
        trace.following[before] = left
        trace.following[left] = tip
        trace.tips[j] = right
    else:
        left = _add_corner(trace, trace.ends[j], trace.runs[j // 2])
        right = _add_corner(trace, trace.ends_above[i], trace.runs_above[i // 2])
        trace.following[left] = before
        trace.following[tip] = right
        trace.tips[j] = left
    trace.twin[left], trace.twin[right] = 1, -1
    return right


@compiled
def _write_ring(
    trace: Trace, loop: NDArray[np.int64], place: NDArray[np.int64], corners: NDArray[np.int32], offset: int
) -> tuple[int, int]:
    """Write a ring from its lowest corner on, closed; give that corner and the end of the ring."""
    lowest = np.argmin(loop)
    for step in range(len(loop) + 1):
        corner = loop[(lowest + step) % len(loop)]
        place[corner] = _TAKEN
        corners[offset + step, 0] = trace.col[corner]
        corners[offset + step, 1] = trace.row[corner]
    return int(loop[lowest]), offset + len(loop) + 1
