"""Polygons as flat arrays, which compiled loops can walk."""

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Polygons; the exterior is the first ring of each."""

    corners: NDArray[np.float64]
    """(c, 2) x and y; the first corner of a ring is repeated last."""
    rings: NDArray[np.int64]
    """(r + 1,) where each ring starts in `corners`."""
    polygons: NDArray[np.int64]
    """(n + 1,) where each polygon starts in `rings`."""


def to_ragged(polygons: NDArray[np.object_]) -> Ragged:
    """Flatten (n,) shapely polygons.

    Raises:
        ValueError: If something else is among them.
    """
    if not len(polygons):
        start = np.zeros(1, np.int64)
        return Ragged(corners=np.empty((0, 2)), rings=start, polygons=start)
    kinds = shapely.get_type_id(polygons)
    strange = kinds[kinds != shapely.GeometryType.POLYGON]
    if len(strange):
        raise ValueError(f"polygons were expected, not {shapely.GeometryType(strange[0]).name.lower()}")
    lengths = shapely.get_num_coordinates(polygons)
    rings = np.where(lengths > 0, shapely.get_num_interior_rings(polygons) + 1, 0)
    corners = shapely.get_coordinates(polygons)
    starts = np.append(0, np.cumsum(rings))
    ends = np.zeros(starts[-1], np.int64)
    ends[starts[:-1][rings > 0]] = lengths[rings > 0]
    # taking rings out of polygons makes objects of them, which is slow, and most have one
    some = rings > 1
    ends[np.repeat(some, rings)] = shapely.get_num_coordinates(shapely.get_rings(polygons[some]))
    return Ragged(corners=corners, rings=np.append(0, np.cumsum(ends)), polygons=starts)


def owners(outlines: Ragged) -> NDArray[np.int64]:
    """Tell which polygon each of the corners belongs to, (c,)."""
    lengths = np.diff(outlines.rings[outlines.polygons])
    return np.repeat(np.arange(len(lengths)), lengths)


def count_corners(outlines: Ragged) -> NDArray[np.int64]:
    """Count the corners of all rings of each polygon, (n,); the one that closes a ring is none."""
    return np.asarray(np.diff(outlines.rings[outlines.polygons]) - np.diff(outlines.polygons))


def open_corners(outlines: Ragged) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the corners without those that close a ring.

    Returns:
        (k, 2) corners of all rings, and (n + 1,) where each polygon starts among them.
    """
    is_open = np.ones(len(outlines.corners), np.bool_)
    is_open[outlines.rings[1:] - 1] = False
    return outlines.corners[is_open], np.append(0, np.cumsum(count_corners(outlines)))
