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

from buildmap.compiled import compiled, inlined, uncounted
from buildmap.vector.tracing.trace import ABOVE, CORNERS, END, LABELS, NODATA, ROW, Runs, Trace, fits

_UNSEEN, _TAKEN = -1, -2
_OUTSIDE, _INSIDE = np.uint64(0), np.uint64(0x0101_0101_0101_0101)


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


@uncounted
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
            fits(trace.fill[CORNERS], trace.col, width) and fits(trace.fill[LABELS], trace.parent, width)
        ):
            return r
        _end_row(trace, _find_runs(trace, strip[r], lowest))
    return int(strip.shape[0])


@uncounted
def follow_runs(trace: Trace, runs: Runs, until: int, start: int) -> int:
    """Follow the outlines of runs up to a row, from run `start` on; rows without any cost nothing.

    Args:
        trace: Updated in place.
        runs: None of them above the next row of `trace`, none at or below `until`.
        until: The row that is next in the end.
        start: First run to look at.

    Returns:
        The first run not done, because `trace` has no room for it; -1 when all are, and the row is reached.
    """
    width = trace.ends.shape[0] - 2
    run = start
    while trace.fill[ROW] < until:
        row = runs.row[run] if run < runs.row.shape[0] else until
        if trace.fill[ABOVE] == 0 and row > trace.fill[ROW]:
            trace.fill[ROW] = row
            continue
        if not (
            fits(trace.fill[CORNERS], trace.col, width) and fits(trace.fill[LABELS], trace.parent, width)
        ):
            return run
        found, above = 0, 0
        while run < runs.row.shape[0] and runs.row[run] == trace.fill[ROW]:
            above = _add_run(trace, found, above, runs.start[run], runs.stop[run])
            _count_in(trace, found, runs.total[run], runs.peak[run])
            found += 2
            run += 1
        _end_row(trace, found)
    return -1


@compiled
def corners_in_use(trace: Trace) -> int:
    """Count the corners held."""
    return int(trace.fill[CORNERS])


@compiled
def open_boxes(trace: Trace) -> NDArray[np.int64]:
    """Give first row, left and right of all that is open; call it after `forget_finished`."""
    boxes = np.empty((trace.fill[LABELS], 3), np.int64)
    boxes[:, 0] = trace.fill[ROW]
    boxes[:, 1] = trace.ends.shape[0]
    boxes[:, 2] = 0
    for corner in range(trace.fill[CORNERS]):
        box = boxes[trace.label[corner]]
        box[0] = min(box[0], trace.row[corner])
        box[1] = min(box[1], trace.col[corner])
        box[2] = max(box[2], trace.col[corner])
    return boxes


def close_rings(trace: Trace) -> Rings:
    """Collect the rings of all buildings that are finished; `forget_finished` then drops them.

    A ring that meets itself at a pair of twins is split there, so every ring is simple. The loops of
    one ring are nested and never interlaced, which lets a stack find all of them in one walk.
    """
    count = corners_in_use(trace)
    room = Rings(
        corners=np.empty((count + count // 4 + 1, 2), np.int32),
        offsets=np.zeros(count // 4 + 2, np.int64),
        first=np.empty(count // 4 + 1, np.int64),
        label=np.empty(count // 4 + 1, np.int64),
    )
    found = _collect_rings(trace, room, np.full(count, _UNSEEN, np.int64), np.empty(count, np.int64))
    return Rings(
        room.corners[: room.offsets[found]], room.offsets[: found + 1], room.first[:found], room.label[:found]
    )


@compiled
def forget_finished(trace: Trace) -> None:
    """Keep only the corners and labels of buildings that may go on, in their order."""
    corners, labels = trace.fill[CORNERS], trace.fill[LABELS]
    roots = np.empty(labels, np.int64)
    for label in range(labels):
        roots[label] = _find(trace.parent, label)
    new_label = np.full(labels, -1, np.int64)
    kept = 0
    for label in range(labels):
        if roots[label] == label and trace.last[label] >= trace.fill[ROW] - 1:
            new_label[label] = kept
            trace.parent[kept] = kept
            trace.pixels[kept] = trace.pixels[label]
            trace.total[kept] = trace.total[label]
            trace.peak[kept] = trace.peak[label]
            trace.last[kept] = trace.last[label]
            kept += 1
    trace.fill[LABELS] = kept
    for run in range(trace.fill[ABOVE] // 2):
        trace.runs_above[run] = new_label[roots[trace.runs_above[run]]]
    moved = np.full(corners + 1, -1, np.int64)  # the last stands for 'no next corner yet', -1
    kept = 0
    for corner in range(corners):
        if new_label[roots[trace.label[corner]]] >= 0:
            moved[corner] = kept
            kept += 1
    trace.fill[CORNERS] = kept
    for old in range(corners):
        new = moved[old]
        if new >= 0:
            trace.col[new] = trace.col[old]
            trace.row[new] = trace.row[old]
            trace.following[new] = moved[trace.following[old]]
            trace.label[new] = new_label[roots[trace.label[old]]]
            trace.twin[new] = trace.twin[old] if moved[old + trace.twin[old]] >= 0 else 0
    for end in range(trace.fill[ABOVE]):
        trace.tips_above[end] = moved[trace.tips_above[end]]


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
    trace.peak[kept] = max(trace.peak[kept], trace.peak[gone])
    trace.last[kept] = max(trace.last[kept], trace.last[gone])
    return kept


@inlined
def _find_runs(trace: Trace, values: NDArray[np.uint8], lowest: int) -> int:
    """Find and label the runs of a row, and count their pixels in; give twice their number."""
    width = values.shape[0]
    low, steps = np.uint8(lowest), np.uint8(NODATA - lowest)
    for col in range(width):  # of its own, and on bytes alone: the compiler makes it many pixels at a time
        trace.inside[col] = np.uint8(values[col] - low) < steps
    words = trace.inside.view(np.uint64)
    found, above, col = 0, 0, 0
    while True:
        start = _skip(trace.inside, words, col, _OUTSIDE)
        if start == trace.inside.shape[0]:
            return found
        col = _skip(trace.inside, words, start, _INSIDE)
        total, peak = np.uint32(0), np.uint8(0)
        for inside in range(start, col):
            total = np.uint32(total + values[inside])
            peak = max(peak, values[inside])
        above = _add_run(trace, found, above, start, col)
        _count_in(trace, found, int(total), int(peak))
        found += 2


@inlined
def _skip(inside: NDArray[np.uint8], words: NDArray[np.uint64], col: int, alike: np.uint64) -> int:
    """Pass over bytes that are like those of `alike`, eight at a time; give the first column that is not."""
    while col < inside.shape[0]:
        if col & 7 == 0 and words[col >> 3] == alike:
            col += 8
        elif inside[col] == alike & np.uint64(1):
            col += 1
        else:
            break
    return col


@inlined
def _add_run(trace: Trace, found: int, above: int, start: int, stop: int) -> int:
    """Label a run, number `found` // 2 of its row; give the first end above that the next run may touch."""
    while above < trace.fill[ABOVE] and trace.ends_above[above + 1] <= start:
        above += 2
    label = -1
    touching = above
    while touching < trace.fill[ABOVE] and trace.ends_above[touching] < stop:
        root = _find(trace.parent, trace.runs_above[touching >> 1])
        label = root if label < 0 else _join(trace, label, root)
        touching += 2
    if label < 0:
        label = int(trace.fill[LABELS])
        trace.fill[LABELS] += 1
        trace.parent[label] = label
        trace.pixels[label] = 0
        trace.total[label] = 0
        trace.peak[label] = 0
    trace.ends[found], trace.ends[found + 1] = start, stop
    trace.runs[found >> 1] = label
    return above


@inlined
def _count_in(trace: Trace, found: int, total: int, peak: int) -> None:
    """Add the values of a run to its building."""
    label = trace.runs[found >> 1]
    trace.pixels[label] += trace.ends[found + 1] - trace.ends[found]
    trace.total[label] += total
    trace.peak[label] = max(trace.peak[label], peak)
    trace.last[label] = trace.fill[ROW]


@inlined
def _end_row(trace: Trace, found: int) -> None:
    """Link the corners above the current row, and go on to the next."""
    _link_corners(trace, found)
    for end in range(found + 1):
        trace.ends_above[end] = trace.ends[end]
        trace.tips_above[end] = trace.tips[end]
    for run in range(found >> 1):
        trace.runs_above[run] = trace.runs[run]
    trace.fill[ABOVE] = found
    trace.fill[ROW] += 1


@inlined
def _add_corner(trace: Trace, col: int, label: int) -> int:
    corner = int(trace.fill[CORNERS])
    trace.fill[CORNERS] += 1
    trace.col[corner] = col
    trace.row[corner] = trace.fill[ROW]
    trace.following[corner] = -1
    trace.label[corner] = label
    trace.twin[corner] = 0
    return corner


@inlined
def _link_corners(trace: Trace, found: int) -> None:
    """Make the corners between the row above and the current row, and link them to those before.

    `before` is the corner on the left that an edge along this line comes from or goes to.
    """
    trace.ends[found] = END
    i, j, before = 0, 0, -1
    while True:
        col_above, col = trace.ends_above[i], trace.ends[j]
        if col_above == col:
            if col == END:
                return
            if (i ^ j) & 1 == 0:
                trace.tips[j] = trace.tips_above[i]
            else:
                before = _link_twins(trace, i, j, before)
            i += 1
            j += 1
        elif col_above < col:
            before = _link_above(trace, i, j, before)
            i += 1
        else:
            before = _link_below(trace, i, j, before)
            j += 1


@inlined
def _link_above(trace: Trace, i: int, j: int, before: int) -> int:
    """Add the corner where end `i` above meets the line alone."""
    corner = _add_corner(trace, trace.ends_above[i], trace.runs_above[i >> 1])
    tip = trace.tips_above[i]
    if i & 1 == 0:
        trace.following[tip] = corner
    else:
        trace.following[corner] = tip
    return _link_along(trace, i, j, corner, before)


@inlined
def _link_below(trace: Trace, i: int, j: int, before: int) -> int:
    """Add the corner where end `j` below meets the line alone."""
    corner = _add_corner(trace, trace.ends[j], trace.runs[j >> 1])
    trace.tips[j] = corner
    return _link_along(trace, i, j, corner, before)


@inlined
def _link_along(trace: Trace, i: int, j: int, corner: int, before: int) -> int:
    """Link a corner to the one on its left, where an edge lies between them; give the corner."""
    if (i ^ j) & 1 == 1:  # building on one side of the line only
        if i & 1 == 1:
            trace.following[before] = corner
        else:
            trace.following[corner] = before
    return corner


@inlined
def _link_twins(trace: Trace, i: int, j: int, before: int) -> int:
    """Add the two corners where buildings meet at a diagonal: first the left one's, then the right one's."""
    tip = trace.tips_above[i]
    if i & 1 == 1:
        left = _add_corner(trace, trace.ends_above[i], trace.runs_above[i >> 1])
        right = _add_corner(trace, trace.ends[j], trace.runs[j >> 1])
        trace.following[before] = left
        trace.following[left] = tip
        trace.tips[j] = right
    else:
        left = _add_corner(trace, trace.ends[j], trace.runs[j >> 1])
        right = _add_corner(trace, trace.ends_above[i], trace.runs_above[i >> 1])
        trace.following[left] = before
        trace.following[tip] = right
        trace.tips[j] = left
    trace.twin[left], trace.twin[right] = 1, -1
    return right


@uncounted
def _collect_rings(trace: Trace, rings: Rings, place: NDArray[np.int64], stack: NDArray[np.int64]) -> int:
    """Write the rings of finished buildings; give their number.

    `place` says for every corner where it is in `stack`, or `_UNSEEN`, or `_TAKEN` once it is written.
    """
    found = 0
    for start in range(trace.fill[CORNERS]):
        root = _find(trace.parent, trace.label[start])
        if place[start] != _UNSEEN or trace.last[root] >= trace.fill[ROW] - 1:
            continue
        depth = 0
        corner = start
        while True:
            twin = corner + trace.twin[corner]
            if twin != corner and place[twin] >= 0:
                begin = place[twin]
                found = _write_ring(trace, rings, found, place, stack, begin, depth)
                depth = begin
            stack[depth] = corner
            place[corner] = depth
            depth += 1
            corner = trace.following[corner]
            if corner == start:
                break
        found = _write_ring(trace, rings, found, place, stack, 0, depth)
    return found


@inlined
def _write_ring(
    trace: Trace,
    rings: Rings,
    found: int,
    place: NDArray[np.int64],
    stack: NDArray[np.int64],
    begin: int,
    end: int,
) -> int:
    """Write the ring of the corners `begin` to `end` of the stack, closed, from its lowest on; count it."""
    lowest = begin
    for at in range(begin + 1, end):
        if stack[at] < stack[lowest]:
            lowest = at
    offset = rings.offsets[found]
    at = lowest
    for step in range(end - begin + 1):
        corner = stack[at]
        place[corner] = _TAKEN
        rings.corners[offset + step, 0] = trace.col[corner]
        rings.corners[offset + step, 1] = trace.row[corner]
        at = at + 1 if at + 1 < end else begin
    rings.first[found] = stack[lowest]
    rings.label[found] = _find(trace.parent, trace.label[stack[lowest]])
    rings.offsets[found + 1] = offset + end - begin + 1
    return found + 1
