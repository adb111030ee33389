"""Bands of a raster, traced each on its own, and the seam: what crosses from one band to the next.

A component that touches neither neighbour of its band is finished there. Any other is cut; its pieces
go on as runs of pixels, a few bytes each, which the seam follows once more from band to band. So the two
together give what one pass over all rows gives, whatever the height of the bands.

With the runs go the values around them, for whoever looks at the values of a component once it is whole.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.outlines import Outlines, OutlineTracer, join_outlines
from buildmap.vector.tracing.spans import (
    Reach,
    Spans,
    crop_spans,
    join_spans,
    needed_spans,
    no_spans,
    spans_around,
)
from buildmap.vector.tracing.trace import NODATA, Runs

KNOWN_PX = 2**24
"""Around a component whose box has more pixels than this, values may be unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a band has of components that touch its neighbours, in rows and columns of the raster."""

    runs: Runs
    """Their pixels."""
    spans: Spans
    """Values of these pixels and of those around them, and of the rows next to other bands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedBand:
    """What there is in a band."""

    finished: Outlines
    """Components that lie in this band alone, in pixel corners of the raster."""
    cut: Pieces
    """Pieces of the others."""


def trace_band(
    values: NDArray[np.uint8], first_row: int, *, above: bool, below: bool, lowest: int
) -> TracedBand:
    """Trace the 4-connected components of a band.

    Args:
        values: (rows, width) 0..254, or 255 for no data.
        first_row: Number of the band's first row in the raster.
        above: There is a band above this one.
        below: There is a band below this one.
        lowest: Values from this one to 254 are buildings.

    Raises:
        ValueError: If values are not uint8 in rows.
    """
    rows, width = values.shape
    tracer = OutlineTracer(width, lowest=lowest, first_row=first_row)
    outlines = join_outlines([tracer.push(values), tracer.finish()])
    left, top, right, bottom = shapely.bounds(outlines.polygons).reshape(-1, 4).T
    is_cut = (above & (top == first_row)) | (below & (bottom == first_row + rows))
    is_small = (right - left) * (bottom - top) <= KNOWN_PX
    reach = Reach(first_row=first_row, above=above, below=below)
    small = _runs_of(outlines.polygons[is_cut & is_small], values, first_row)
    runs = _runs_of(outlines.polygons[is_cut], values, first_row) if (is_cut & ~is_small).any() else small
    return TracedBand(
        finished=outlines.take(~is_cut), cut=Pieces(runs=runs, spans=spans_around(small, values, reach))
    )


def crop_band(values: NDArray[np.uint8], first_row: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Give the values of a band in a box of the raster, 255 outside the band.

    Args:
        values: (rows, width) of the band.
        first_row: Number of the band's first row in the raster.
        box: Left, top, right, bottom.
    """
    left, top, right, bottom = box
    out = np.full((bottom - top, right - left), NODATA, np.uint8)
    rows, width = values.shape
    begin, end = max(top, first_row), min(bottom, first_row + rows)
    start, stop = max(left, 0), min(right, width)
    if begin < end and start < stop:
        inner = values[begin - first_row : end - first_row, start:stop]
        out[begin - top : end - top, start - left : stop - left] = inner
    return out


class Seam:
    """Puts cut components together, band by band from top to bottom.

    Memory follows the width and what is still open: outlines, and the values around components whose box
    has up to `KNOWN_PX` pixels.
    """

    def __init__(self, width: int) -> None:
        """Start above the first band of a raster with so many columns."""
        self._tracer = OutlineTracer(width, lowest=NODATA)  # is shown runs, not values
        self._width = width
        self._spans = no_spans()

    def push(self, pieces: Pieces, first_row: int, rows: int) -> Outlines:
        """Take in the pieces of the next band, and give the components that have ended.

        Those that end at the lower border of the band come with the next. They are sorted by their last row,
        then by their topmost leftmost corner.

        Args:
            pieces: Of the band.
            first_row: Number of the band's first row in the raster.
            rows: Of the band.

        Raises:
            ValueError: If it is not the next band.
        """
        if first_row != self._tracer.next_row:
            raise ValueError(f"the next band begins at row {self._tracer.next_row}, not {first_row}")
        self._forget()
        self._spans = join_spans(self._spans, pieces.spans)
        return self._tracer.push_runs(pieces.runs, first_row + rows)

    def finish(self) -> Outlines:
        """Give the components that end at the lower border of the raster."""
        return self._tracer.finish()

    def crop(self, left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
        """Give the values in a box around a component that was given last, until the next band is pushed.

        Known are its pixels, and those that touch them, also by a corner. All others may be 255, as what
        lies outside the raster.
        """
        return crop_spans(self._spans, (left, top, right, bottom))

    def _forget(self) -> None:
        """Drop the values around what has been given; keep the last row, on which something may begin."""
        last_row = self._tracer.next_row - 1
        boxes = self._tracer.open_boxes()
        boxes = boxes[(boxes[:, 2] - boxes[:, 1]) * (last_row + 1 - boxes[:, 0]) <= KNOWN_PX]
        self._spans = needed_spans(self._spans, boxes, width=self._width, last_row=last_row)


def _runs_of(polygons: NDArray[np.object_], values: NDArray[np.uint8], first_row: int) -> Runs:
    """Give the runs of pixels in (n,) outlines: between every other two of the edges that cross a row."""
    outlines = to_ragged(polygons)
    corners = outlines.corners.astype(np.int64)
    is_edge = np.ones(max(len(corners) - 1, 0), np.bool_)
    is_edge[outlines.rings[1:-1] - 1] = False  # from one ring to the next
    is_edge &= corners[:-1, 0] == corners[1:, 0]
    col = corners[:-1][is_edge, 0]
    first, last = np.sort([corners[:-1][is_edge, 1], corners[1:][is_edge, 1]], axis=0)
    rows = np.repeat(first - np.cumsum(last - first) + (last - first), last - first)
    step = values.shape[1] + 1
    ends = (rows + np.arange(len(rows))) * step + np.repeat(col, last - first)
    ends.sort()
    row, start = np.divmod(ends[::2], step)
    stop = ends[1::2] % step
    total, peak = np.empty(len(row), np.int64), np.empty(len(row), np.uint8)
    runs = Runs(row.astype(np.int32), start.astype(np.int32), stop.astype(np.int32), total, peak)
    _measure(runs, np.ascontiguousarray(values), first_row)
    return runs


@compiled
def _measure(runs: Runs, values: NDArray[np.uint8], first_row: int) -> None:
    for run in range(runs.row.shape[0]):
        total, peak = 0, 0
        for value in values[runs.row[run] - first_row, runs.start[run] : runs.stop[run]]:
            total += int(value)
            peak = max(peak, int(value))
        runs.total[run], runs.peak[run] = total, peak
