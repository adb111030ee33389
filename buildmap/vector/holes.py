"""Filling holes that are too small to be courtyards."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.ragged import Ragged, to_ragged


def fill_holes(polygons: NDArray[np.object_], min_area: NDArray[np.float64]) -> NDArray[np.object_]:
    """Fill interiors smaller than an area.

    Args:
        polygons: (n,) valid.
        min_area: (n,) in the square of the polygons' own units; a hole of that area stays.

    Returns:
        (n,) the same objects where nothing was filled.
    """
    with_holes = np.flatnonzero(shapely.get_num_interior_rings(polygons))
    if not len(with_holes):
        return polygons
    outlines = to_ragged(polygons[with_holes])
    kept = _ring_areas(outlines) >= np.repeat(min_area[with_holes], np.diff(outlines.polygons))
    kept[outlines.polygons[:-1]] = True  # exteriors
    filled = polygons.copy()
    filled[with_holes] = _with_rings(outlines, kept)
    return filled


def _ring_areas(outlines: Ragged) -> NDArray[np.float64]:
    """Give the area inside each ring, (r,)."""
    x, y = (outlines.corners - outlines.corners[0]).T
    twice = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
    twice[outlines.rings[1:] - 1] = 0.0  # from the end of a ring to the start of the next
    return np.asarray(np.abs(np.add.reduceat(twice, outlines.rings[:-1])) / 2)


def _with_rings(outlines: Ragged, kept: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Give the polygons with some of their rings."""
    lengths = np.diff(outlines.rings)
    corners = outlines.corners[np.repeat(kept, lengths)]
    rings = np.append(0, np.cumsum(lengths[kept]))
    starts = np.append(0, np.cumsum(np.add.reduceat(kept.astype(np.int64), outlines.polygons[:-1])))
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, corners, (rings, starts)))
