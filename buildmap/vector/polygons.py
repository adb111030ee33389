"""Rings become polygons: in whole-number pixel corners first, on the map last."""

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.tracing.rings import Rings


def assemble(rings: Rings, last_row: NDArray[np.int64]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Group rings by building, exterior first, in an order that follows from the mask alone.

    Buildings are sorted by their last row, then by their topmost leftmost corner; so are the interiors of
    each by their own corner. That corner of a building lies on its exterior.

    Args:
        rings: Of finished buildings.
        last_row: (labels,) of each building.

    Returns:
        (n,) polygons in pixel corners (column, row) and (n,) the labels they come from.
    """
    if not len(rings.label):
        return np.empty(0, np.object_), np.empty(0, np.int64)
    by_label = np.lexsort((rings.first, rings.label))
    label = rings.label[by_label]
    is_exterior = np.append(True, label[1:] != label[:-1])
    exterior = by_label[is_exterior][np.cumsum(is_exterior) - 1]
    order = by_label[np.lexsort((rings.first[by_label], rings.first[exterior], last_row[label]))]
    ring_offsets = np.append(0, np.cumsum(np.diff(rings.offsets)[order]))
    label = rings.label[order]
    starts = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
    offsets = (ring_offsets, np.append(starts, len(order)))
    coordinates = np.empty((ring_offsets[-1], 2))
    _gather(rings.corners, rings.offsets[order], ring_offsets, coordinates)
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, offsets)
    return polygons, label[starts]


@compiled
def _gather(
    corners: NDArray[np.int32],
    starts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Copy the rings that start at `starts` to where `offsets` tell."""
    for ring in range(len(starts)):
        for step in range(offsets[ring + 1] - offsets[ring]):
            out[offsets[ring] + step, 0] = corners[starts[ring] + step, 0]
            out[offsets[ring] + step, 1] = corners[starts[ring] + step, 1]


def to_map(polygons: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Place polygons in pixel corners on the map: exteriors counter-clockwise, interiors clockwise."""
    a, b, c, d, e, f, *_ = transform

    def place(cols: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        return a * cols + b * rows + c, d * cols + e * rows + f

    placed = shapely.transform(polygons, place, interleaved=False)
    return np.asarray(shapely.orient_polygons(placed))
