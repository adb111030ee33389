"""Corners a step apart become one, wherever they stand: what cutting and joining leave behind."""

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.vector.ragged import to_ragged
from buildmap.vector.walls.sound import is_polygon, is_sound

_STEP_PX = 1.25
"""Longest edge that is none, and the farthest that a corner moves."""


def weld(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make one corner of those that short edges join: the one which most footprints have.

    Args:
        polygons: (k,) a coverage, valid.

    Returns:
        (k,) a coverage, valid: as it was, where it would not be any more.
    """
    ragged = to_ragged(polygons)
    is_edge = np.ones(len(ragged.corners), np.bool_)
    is_edge[ragged.rings[1:] - 1] = False
    start = np.flatnonzero(is_edge)
    length = np.hypot(*(ragged.corners[start + 1] - ragged.corners[start]).T)
    short = start[length <= _STEP_PX]
    if not len(short):
        return polygons
    places, number = np.unique(ragged.corners, axis=0, return_inverse=True)
    number = number.ravel()
    links = coo_array(
        (np.ones(len(short), np.bool_), (number[short], number[short + 1])), shape=(len(places),) * 2
    )
    _, cluster = connected_components(links, directed=False)
    uses = np.bincount(number[is_edge], minlength=len(places))
    order = np.lexsort((-uses, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    centre = places[order[first]][cluster]
    far = np.hypot(*(places - centre).T) > _STEP_PX
    stays = np.isin(cluster, cluster[far])
    places[~stays] = centre[~stays]
    moved = np.asarray(shapely.set_coordinates(polygons.copy(), places[number]))
    if not is_polygon(moved).all():
        return polygons
    welded = np.asarray(shapely.remove_repeated_points(moved))
    return welded if is_sound(welded) else polygons
