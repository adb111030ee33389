"""Exact outlines of the buildings in a mask that streams by, the same for any height of strips."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.polygons import assemble
from buildmap.vector.tracing.rings import (
    close_rings,
    corners_in_use,
    follow,
    follow_runs,
    forget_finished,
    open_boxes,
)
from buildmap.vector.tracing.trace import NODATA, ROW, Runs, new_trace, with_room

_COLLECT_FROM_CORNERS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Finished buildings."""

    polygons: NDArray[np.object_]
    """(n,) valid polygons in whole-number pixel corners (column, row), y down."""
    pixels: NDArray[np.int64]
    """(n,) pixels of each."""
    total: NDArray[np.int64]
    """(n,) sum of the values of these pixels."""
    peak: NDArray[np.uint8]
    """(n,) greatest of these values."""

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Outlines":
        """Give some of them, by number or by mask, in that order."""
        return Outlines(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def join_outlines(parts: Sequence[Outlines]) -> Outlines:
    """Put buildings behind each other.

    Raises:
        ValueError: If there are no parts.
    """
    return Outlines(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Outlines)
        }
    )


class OutlineTracer:
    """Traces the 4-connected buildings of a raster of probability, strip by strip.

    Buildings come out sorted by their last row, then by their topmost leftmost corner. Memory follows the
    width and the outlines still open.
    """

    def __init__(self, width: int, *, lowest: int, first_row: int = 0) -> None:
        """Start above the first row.

        Args:
            width: Columns.
            lowest: Values from this one to 254 are buildings.
            first_row: Number of the first row in the raster.
        """
        self._width = width
        self._lowest = lowest
        self._trace = new_trace(width, first_row=first_row)
        self._open_corners = 0

    def push(self, strip: NDArray[np.uint8]) -> Outlines:
        """Follow the next rows, and give the buildings that have ended.

        A building may come with a later strip than the one it ended in, but never out of order.

        Args:
            strip: (rows, width).

        Raises:
            ValueError: If the strip has another width or type.
        """
        if strip.ndim != 2 or strip.shape[1] != self._width or strip.dtype != np.uint8:
            raise ValueError(f"strip is {strip.dtype} {strip.shape}, not uint8 (rows, {self._width})")
        self._follow(np.ascontiguousarray(strip))
        # visiting all open outlines after every strip would be quadratic where strips are low
        if corners_in_use(self._trace) < 2 * self._open_corners + _COLLECT_FROM_CORNERS:
            return self._none()
        return self._collect()

    def push_runs(self, runs: Runs, until: int) -> Outlines:
        """Follow the building pixels of the rows above `until`, given as runs; give all that has ended.

        Args:
            runs: In rows not yet followed.
            until: The row that is next.

        Raises:
            ValueError: If runs lie in other rows.
        """
        if len(runs.row) and not self.next_row <= runs.row[0] <= runs.row[-1] < until:
            raise ValueError(
                f"runs lie in rows {runs.row[0]}..{runs.row[-1]}, not {self.next_row}..{until - 1}"
            )
        done = follow_runs(self._trace, runs, until, 0)
        while done >= 0:
            self._trace = with_room(self._trace, self._width)
            done = follow_runs(self._trace, runs, until, done)
        return self._collect()

    @property
    def next_row(self) -> int:
        """The row that is followed next."""
        return int(self._trace.fill[ROW])

    def open_boxes(self) -> NDArray[np.int64]:
        """Give (n, 3) first row, left and right of all that was open after the last buildings were given."""
        return open_boxes(self._trace)

    def finish(self) -> Outlines:
        """Close what ends at the lower border, and give all that is left."""
        self._follow(np.full((1, self._width), NODATA, np.uint8))
        return self._collect()

    def _follow(self, strip: NDArray[np.uint8]) -> None:
        done = follow(self._trace, strip, self._lowest, 0)
        while done < len(strip):
            self._trace = with_room(self._trace, self._width)
            done = follow(self._trace, strip, self._lowest, done)

    def _collect(self) -> Outlines:
        polygons, label = assemble(close_rings(self._trace), self._trace.last)
        outlines = Outlines(
            polygons=polygons,
            pixels=self._trace.pixels[label],
            total=self._trace.total[label],
            peak=self._trace.peak[label],
        )
        forget_finished(self._trace)
        self._open_corners = corners_in_use(self._trace)
        return outlines

    @staticmethod
    def _none() -> Outlines:
        nothing = np.empty(0, np.int64)
        return Outlines(
            polygons=np.empty(0, np.object_), pixels=nothing, total=nothing, peak=np.empty(0, np.uint8)
        )
