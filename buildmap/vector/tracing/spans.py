"""Values of a raster along parts of its rows: those around some components, and none of the others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.tracing.trace import NODATA, Runs


class Spans(NamedTuple):
    """Values along parts of rows, by row and then from left to right; no two overlap."""

    row: NDArray[np.int32]
    """(s,)"""
    start: NDArray[np.int32]
    """(s,) first column."""
    stop: NDArray[np.int32]
    """(s,) column behind the last."""
    offsets: NDArray[np.int64]
    """(s + 1,) where the values of each span begin."""
    values: NDArray[np.uint8]
    """(v,) of all spans, one after the other."""


class Reach(NamedTuple):
    """How far around runs values are kept."""

    first_row: int
    """Of the band."""
    above: bool
    """All of its first row is kept."""
    below: bool
    """All of its last row is kept."""


def spans_around(runs: Runs, values: NDArray[np.uint8], reach: Reach) -> Spans:
    """Cut out the values of runs, of the pixels that touch them, and of what else is within reach.

    Args:
        runs: In the rows of `values`.
        values: (rows, width), of which the first is row `reach.first_row`.
        reach: What else to keep.
    """
    rows = values.shape[0]
    offsets = np.searchsorted(runs.row, np.arange(reach.first_row - 1, reach.first_row + rows + 2))
    room = np.empty((3 * len(runs.row) + 2, 3), np.int32)
    found, total = _cover(runs, offsets, np.array(values.shape), reach, room)
    row, start, stop = room[:found].T.copy()
    spans = _spans(row, start, stop, np.empty(total, np.uint8))
    _copy_values(spans, np.ascontiguousarray(values), reach.first_row)
    return spans


def no_spans() -> Spans:
    """Give none."""
    nothing = np.empty(0, np.int32)
    return _spans(nothing, nothing, nothing, np.empty(0, np.uint8))


def join_spans(one: Spans, other: Spans) -> Spans:
    """Put spans behind others, in rows below theirs."""
    row, start, stop = (np.concatenate([one[k], other[k]]) for k in range(3))
    return _spans(row, start, stop, np.concatenate([one.values, other.values]))


def needed_spans(spans: Spans, boxes: NDArray[np.int64], *, width: int, last_row: int) -> Spans:
    """Keep the spans that touch boxes or the pixels around them, and those of the last row.

    Args:
        spans: Of rows up to `last_row`.
        boxes: (n, 3) first row, left and right; they reach down to the last row.
        width: Columns of the raster.
        last_row: The last row known.
    """
    needed = _touching(spans, _first_needed_rows(boxes, width)) | (spans.row == last_row)
    values = spans.values[np.repeat(needed, spans.stop - spans.start)]
    return _spans(spans.row[needed], spans.start[needed], spans.stop[needed], values)


def crop_spans(spans: Spans, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Give the values in a box (left, top, right, bottom), 255 outside the spans."""
    left, top, right, bottom = box
    out = np.full((bottom - top, right - left), NODATA, np.uint8)
    _paint(spans, out, left, top)
    return out


def _spans(
    row: NDArray[np.int32], start: NDArray[np.int32], stop: NDArray[np.int32], values: NDArray[np.uint8]
) -> Spans:
    return Spans(row, start, stop, np.append(0, np.cumsum(stop - start, dtype=np.int64)), values)


@compiled
def _cover(
    runs: Runs, offsets: NDArray[np.int64], shape: NDArray[np.int64], reach: Reach, room: NDArray[np.int32]
) -> tuple[int, int]:
    """Write rows, starts and stops of spans around runs into `room`; give their number and that of values.

    `offsets` says where the runs of each row begin, from the row above the band on.
    """
    rows, width = shape
    found, total = 0, 0
    at, end = np.empty(3, np.int64), np.empty(3, np.int64)
    for r in range(rows):
        row = reach.first_row + r
        if (r == 0 and reach.above) or (r == rows - 1 and reach.below):
            room[found, 0], room[found, 1], room[found, 2] = row, 0, width
            total += width
            found += 1
            continue
        at[:], end[:] = offsets[r : r + 3], offsets[r + 1 : r + 4]
        first = found
        while True:
            nearest = -1
            for k in range(3):
                if at[k] < end[k] and (nearest < 0 or runs.start[at[k]] < runs.start[at[nearest]]):
                    nearest = k
            if nearest < 0:
                break
            start = max(runs.start[at[nearest]] - 1, 0)
            stop = min(runs.stop[at[nearest]] + 1, width)
            at[nearest] += 1
            if found > first and start <= room[found - 1, 2]:
                total += max(stop - room[found - 1, 2], 0)
                room[found - 1, 2] = max(stop, room[found - 1, 2])
            else:
                room[found, 0], room[found, 1], room[found, 2] = row, start, stop
                total += stop - start
                found += 1
    return found, total


@compiled
def _copy_values(spans: Spans, values: NDArray[np.uint8], first_row: int) -> None:
    place = 0
    for span in range(spans.row.shape[0]):
        for col in range(spans.start[span], spans.stop[span]):
            spans.values[place] = values[spans.row[span] - first_row, col]
            place += 1


@compiled
def _first_needed_rows(boxes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Give for each column the first row from which values around any of some (n, 3) boxes are needed."""
    rows = np.full(width, np.iinfo(np.int64).max)
    for box in range(boxes.shape[0]):
        for col in range(max(boxes[box, 1] - 1, 0), min(boxes[box, 2] + 1, width)):
            rows[col] = min(rows[col], boxes[box, 0] - 1)
    return rows


@compiled
def _touching(spans: Spans, first_rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    needed = np.zeros(spans.row.shape[0], np.bool_)
    for span in range(spans.row.shape[0]):
        for col in range(spans.start[span], spans.stop[span]):
            if first_rows[col] <= spans.row[span]:
                needed[span] = True
                break
    return needed


@compiled
def _paint(spans: Spans, out: NDArray[np.uint8], left: int, top: int) -> None:
    """Paint the values of spans into a box, skipping in each row those on the left of it."""
    rows, cols = out.shape
    span = np.searchsorted(spans.row, top)
    end = np.searchsorted(spans.row, top + rows)
    while span < end:
        row = spans.row[span]
        next_row = span + np.searchsorted(spans.row[span:end], row, side="right")
        span += np.searchsorted(spans.stop[span:next_row], left, side="right")
        while span < next_row and spans.start[span] < left + cols:
            for col in range(max(spans.start[span], left), min(spans.stop[span], left + cols)):
                out[row - top, col - left] = spans.values[spans.offsets[span] + col - spans.start[span]]
            span += 1
        span = next_row
