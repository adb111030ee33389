"""The ground on which a raster has data, as polygons: traced in cells of pixels while its rows stream by."""

from collections.abc import Iterable, Iterator

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.polygons import to_map
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.trace import NODATA

CELL_PX = 16
"""Side of a cell: finer than any border of imagery means anything, and a 256th of the pixels to trace."""


class ValidArea:
    """Traces cells of which at least half of the pixels are valid, as 4-connected polygons.

    A cell at the right or lower border has as many pixels as the raster still has there. The polygons and
    their order do not depend on how many rows are pushed at a time. Memory follows the width and the
    outlines still open.
    """

    def __init__(self, width: int, *, transform: Affine, cell_px: int = CELL_PX) -> None:
        """Start above the first row.

        Args:
            width: Columns of the raster.
            transform: Its pixel corners (col, row) to coordinates (x, y).
            cell_px: Side of a cell.
        """
        self._width = width
        self._transform = transform
        self._cell_px = cell_px
        self._cols = np.diff(np.append(np.arange(0, width, cell_px), width))
        self._tracer = OutlineTracer(len(self._cols), lowest=1)
        self._rows = 0
        self._begun = np.zeros(len(self._cols), np.int64)
        self._ended: list[NDArray[np.object_]] = []

    def push(self, valid: NDArray[np.bool_]) -> None:
        """Take in the next rows.

        Args:
            valid: (rows, width), True = has data.

        Raises:
            ValueError: If the rows have another width or type.
        """
        if valid.ndim != 2 or valid.shape[1] != self._width or valid.dtype != np.bool_:
            raise ValueError(f"rows are {valid.dtype} {valid.shape}, not bool (rows, {self._width})")
        held = self._rows % self._cell_px
        whole = (held + len(valid)) // self._cell_px
        counts = np.zeros((whole + 1, len(self._cols)), np.int64)
        counts[0] = self._begun
        _count(np.ascontiguousarray(valid), held, self._cell_px, counts)
        self._rows += len(valid)
        self._begun = counts[whole]
        self._trace(counts[:whole], self._cell_px)

    def finish(self) -> None:
        """Close what ends at the lower border."""
        if begun := self._rows % self._cell_px:
            self._trace(self._begun[None], begun)
        self._keep(self._tracer.finish().polygons)

    def take(self) -> NDArray[np.object_]:
        """Give the polygons that have ended since the last call: on the map, exteriors counter-clockwise."""
        ended, self._ended = self._ended, []
        return np.concatenate([np.empty(0, np.object_), *ended])

    def watch(self, strips: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Hand on strips of probability, 0..254 and 255 for no data, and take them in; finish after the last.

        Args:
            strips: (rows, width), from the first row on.
        """
        for strip in strips:
            self.push(strip != NODATA)
            yield strip
        self.finish()

    def _trace(self, counts: NDArray[np.int64], rows: int) -> None:
        """Follow rows of cells that have so many rows of pixels each."""
        is_valid = (2 * counts >= rows * self._cols).view(np.uint8)
        self._keep(self._tracer.push(is_valid).polygons)

    def _keep(self, cells: NDArray[np.object_]) -> None:
        if len(cells):
            pixels = _in_pixels(cells, self._cell_px, self._width, self._rows)
            self._ended.append(to_map(pixels, self._transform))


@compiled
def _count(valid: NDArray[np.bool_], held: int, cell_px: int, counts: NDArray[np.int64]) -> None:
    """Count valid pixels into cells, of the first of which `held` rows were counted before."""
    for row in range(valid.shape[0]):
        for col in range(counts.shape[1]):
            found = 0
            for pixel in valid[row, col * cell_px : (col + 1) * cell_px]:
                found += pixel
            counts[(held + row) // cell_px, col] += found


def _in_pixels(cells: NDArray[np.object_], cell_px: int, width: int, rows: int) -> NDArray[np.object_]:
    """Give polygons in corners of cells in those of pixels; the last cells may be smaller."""

    def place(cols: NDArray[np.float64], lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        return np.minimum(cols * cell_px, width), np.minimum(lines * cell_px, rows)

    return np.asarray(shapely.transform(cells, place, interleaved=False))
