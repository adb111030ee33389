"""Which share of polygons lies on valid pixels of a raster: exact areas, the raster read once around them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.compiled import compiled
from buildmap.errors import InputError
from buildmap.execution.prefetch import prefetch
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.crs import as_crs
from buildmap.vector.projection import is_finite, projection
from buildmap.vector.ragged import Ragged, to_ragged

_CHUNK_PX = 1024
"""Side of the squares in which the raster is read; of each, only the part around polygons."""
_READERS = 2
_DIGITS = 9
"""A polygon on valid pixels alone has a share of 1, whatever the last bits of its area are."""

_POINT = 1e-9
"""Pixels: over a shorter distance, V is what it is in one place."""
Counts = NDArray[np.int32]
Areas = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """A window to read, and the polygons that touch it."""

    window: Window
    touching: NDArray[np.int64]
    """(m,) their numbers."""


class SeenPixels:
    """A raster as evidence: nodata, mask band, alpha and NaN are ground that was not seen.

    Memory does not follow the raster, nor the size of a polygon.
    """

    def __init__(self, reader: RasterReader, *, crs: CRS) -> None:
        """Take a raster, which is closed with this.

        Args:
            reader: The raster, on its own grid.
            crs: Of the polygons to come.

        Raises:
            InputError: If the raster has no CRS, or no georeference.
        """
        if reader.grid.crs is None or reader.grid.transform.is_identity:
            lacking = "CRS" if reader.grid.crs is None else "georeference"
            raise InputError(
                f"{reader.name} has no {lacking}, so it tells nothing of what was seen",
                hint="rio edit-info --crs EPSG:CODE RASTER",
            )
        self._reader = reader
        self._move = projection(crs, as_crs(reader.grid.crs))

    def close(self) -> None:
        """Close the raster."""
        self._reader.close()

    def share(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give the share of the area of each polygon that lies on valid pixels.

        Args:
            polygons: (n,) valid polygons or multipolygons.

        Returns:
            (n,) 0..1; 0 where a polygon is empty, lies outside the raster, or has no place in its CRS.

        Raises:
            StorageError: If the raster cannot be read there.
        """
        parts, owner = shapely.get_parts(polygons, return_index=True)
        moved = parts if self._move is None else self._move(parts)
        placed = is_finite(moved)
        moved, owner = shapely.orient_polygons(moved[placed]), owner[placed]
        seen_px = np.abs(self._seen_px(self._in_pixels(to_ragged(moved))))
        seen = np.bincount(owner, seen_px, len(polygons)) * abs(self._reader.grid.transform.determinant)
        whole = np.bincount(owner, shapely.area(moved), len(polygons))
        share = np.divide(seen, whole, out=np.zeros(len(polygons)), where=whole > 0)
        return np.asarray(np.clip(np.round(share, _DIGITS), 0, 1))

    def _in_pixels(self, outlines: Ragged) -> Ragged:
        a, b, c, d, e, f, *_ = ~self._reader.grid.transform
        x, y = outlines.corners.T
        return outlines._replace(corners=np.column_stack([a * x + b * y + c, d * x + e * y + f]))

    def _seen_px(self, outlines: Ragged) -> NDArray[np.float64]:
        """Give the area of each polygon on valid pixels, with the sign of its orientation."""
        seen = np.zeros(len(outlines.polygons) - 1)
        grid = self._reader.grid
        chunks = _chunks(outlines, width=grid.width, height=grid.height)
        counted = prefetch(partial(_counted, self._reader), chunks, workers=_READERS, ahead=2 * _READERS)
        with closing(counted):
            for chunk, counts in counted:
                corner = chunk.window.col_off, chunk.window.row_off
                _add_valid_areas(outlines, chunk.touching, corner, counts, seen)
        return seen


def _chunks(outlines: Ragged, *, width: int, height: int) -> Iterator[_Chunk]:
    """Cut the raster where polygons are: squares of a lattice, each as small as its polygons allow."""
    number, boxes = _boxes(outlines, width=width, height=height)
    first, last = boxes[:, :2] // _CHUNK_PX, (boxes[:, 2:] - 1) // _CHUNK_PX
    across, down = (last - first + 1).T
    box = np.repeat(np.arange(len(boxes)), across * down)
    step = np.arange(len(box)) - np.repeat(np.cumsum(across * down) - across * down, across * down)
    col, row = first[box, 0] + step % across[box], first[box, 1] + step // across[box]
    square = row * (-(-width // _CHUNK_PX)) + col
    order = np.argsort(square, kind="stable")
    corner = np.column_stack([col, row])[order] * _CHUNK_PX
    least = np.maximum(boxes[box[order], :2], corner)
    most = np.minimum(boxes[box[order], 2:], corner + _CHUNK_PX)
    starts = np.flatnonzero(np.diff(square[order], prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(order)]):
        left, top = least[start:stop].min(axis=0).tolist()
        right, bottom = most[start:stop].max(axis=0).tolist()
        window = Window(col_off=left, row_off=top, width=right - left, height=bottom - top)
        yield _Chunk(window=window, touching=number[box[order[start:stop]]])


def _boxes(outlines: Ragged, *, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the polygons that touch the raster, (m,), and (m, 4) the pixels around each: from, until."""
    starts = outlines.rings[outlines.polygons]
    filled = np.flatnonzero(np.diff(starts))
    if not len(filled):
        return filled, np.empty((0, 4), np.int64)
    shape = np.array([width, height])
    least = np.maximum(np.floor(np.minimum.reduceat(outlines.corners, starts[filled])), 0)
    most = np.minimum(np.ceil(np.maximum.reduceat(outlines.corners, starts[filled])), shape)
    touch = (least < most).all(axis=1)
    return filled[touch], np.column_stack([least, most])[touch].astype(np.int64)


def _counted(reader: RasterReader, chunk: _Chunk) -> tuple[_Chunk, NDArray[np.int32]]:
    """Read a chunk; count the valid pixels of each row on the left of each column, (rows, cols + 1)."""
    window = chunk.window
    counts = np.zeros((window.height, window.width + 1), np.int32)
    if reader.has_data(window):
        valid = np.True_ if reader.all_valid else reader.read(window).valid
        np.cumsum(np.broadcast_to(valid, counts[:, 1:].shape), axis=1, out=counts[:, 1:])
    return chunk, counts


@compiled
def _add_valid_areas(
    outlines: Ragged, chosen: NDArray[np.int64], corner: tuple[int, int], counts: Counts, seen: Areas
) -> None:
    """Add to the area of polygons on valid pixels what lies in one window, by Green's theorem.

    That area is the integral of V(x, y) dy along the outline, where V is the length of valid pixels on the
    left of x in the row of y: linear in x from one column to the next.

    Args:
        outlines: In pixels of the raster.
        chosen: (m,) numbers of polygons.
        corner: Column and row where the window begins.
        counts: (rows, cols + 1) valid pixels of each row on the left of each column.
        seen: (n,) areas by the number of the polygon, added to; negative where an exterior is clockwise.
    """
    left, top = corner
    for number in chosen:
        for ring in range(outlines.polygons[number], outlines.polygons[number + 1]):
            for at in range(outlines.rings[ring], outlines.rings[ring + 1] - 1):
                x, y = outlines.corners[at, 0] - left, outlines.corners[at, 1] - top
                next_x, next_y = outlines.corners[at + 1, 0] - left, outlines.corners[at + 1, 1] - top
                if y < next_y:
                    seen[number] += _beside_edge(x, y, next_x, next_y, counts)
                elif y > next_y:
                    seen[number] -= _beside_edge(next_x, next_y, x, y, counts)


@compiled
def _beside_edge(x: float, y: float, next_x: float, next_y: float, counts: Counts) -> float:
    """Integrate V along an edge that goes down the rows, as far as these rows go."""
    area, slope = 0.0, (next_x - x) / (next_y - y)
    first, last = max(y, 0.0), min(next_y, float(counts.shape[0]))
    for row in range(int(np.floor(first)), int(np.ceil(last))):
        upper, lower = max(first, float(row)), min(last, row + 1.0)
        area += (lower - upper) * _mean(x + (upper - y) * slope, x + (lower - y) * slope, counts[row])
    return area


@compiled
def _mean(one: float, other: float, counts: NDArray[np.int32]) -> float:
    """Give the mean of V between two places in a row."""
    cols = counts.shape[0] - 1
    left, right = min(one, other), max(one, other)
    if right - left < _POINT:
        middle = min(max(left, 0.0), float(cols))
        col = min(int(middle), cols - 1)
        return float(counts[col] + (middle - col) * (counts[col + 1] - counts[col]))
    total = counts[cols] * max(right - max(left, float(cols)), 0.0)
    start, stop = max(left, 0.0), min(right, float(cols))
    for col in range(int(start), int(np.ceil(stop))):
        begin, end = max(start, float(col)), min(stop, col + 1.0)
        middle = (begin + end) / 2 - col
        total += (end - begin) * (counts[col] + middle * (counts[col + 1] - counts[col]))
    return float(total / (right - left))
