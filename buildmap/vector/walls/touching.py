"""Which footprints share walls, and a vertex wherever the wall of one meets the corner of another."""

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_WALL_SHARED = "F***1****"
"""Interiors apart, outlines along a line (DE-9IM)."""
_SAME_PLACE = 1e-6
"""Pixels within which a corner lies on a wall."""


def touching_groups(polygons: NDArray[np.object_]) -> NDArray[np.int64]:
    """Number the groups of polygons that touch along walls; to touch at points is not enough.

    Polygons that overlap do not touch: they share ground, and no wall lies between them.

    Args:
        polygons: (n,) valid.

    Returns:
        (n,) group of each, counted from 0 in the order of the first polygon of each.
    """
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    once = one < other
    one, other = one[once], other[once]
    shared = shapely.relate_pattern(polygons[one], polygons[other], _WALL_SHARED)
    one, other = one[shared], other[shared]
    links = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(len(polygons),) * 2)
    _, group = connected_components(links, directed=False)
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[number])


def with_shared_vertices(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give polygons a vertex wherever a corner of another lies on their walls.

    Args:
        polygons: (k,) valid, a group; those that need no vertex come back as they are.
    """
    if shapely.coverage_is_valid(polygons):
        return polygons
    corners = shapely.multipoints(np.unique(shapely.get_coordinates(polygons), axis=0))
    return np.asarray(shapely.snap(polygons, corners, _SAME_PLACE))
