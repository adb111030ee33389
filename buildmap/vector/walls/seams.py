"""Footprints of a group that were not drawn together become a coverage again."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import closeness
from buildmap.vector.walls.linework import GRAIN
from buildmap.vector.walls.sound import is_near, is_polygon, is_sound

_NONE = -1
_REACH_PX = 12.0
"""How far footprints may have come apart at the end of their wall."""
_STRAIGHT_PX = 0.05
"""Square root of the area for which a corner must stand, to be one."""


def sew(
    shapes: NDArray[np.object_], rank: NDArray[np.int64], noded: NDArray[np.object_]
) -> NDArray[np.object_]:
    """Put footprints together that were drawn apart.

    Ground that several of them cover is the first's. Ground that lies between them now, and was theirs,
    becomes part of one of them that is not among the first.

    Args:
        shapes: (k,) valid polygons, drawn anew; those of one rank may be a coverage, and stay one.
        rank: (k,) who comes first: the lowest.
        noded: (k,) the group as it was, all vertices shared.

    Returns:
        (k,) valid polygons, a coverage; None for one of which nothing, or not enough, is left.
    """
    caps = _caps(shapes, noded, rank)
    lines = shapely.union_all(np.concatenate([shapely.boundary(shapes), caps]), grid_size=1 / GRAIN)
    faces = np.asarray(shapely.get_parts(shapely.polygonize(shapely.get_parts(lines))))
    owner = _owners(faces, shapes, rank)
    owner = _filled(faces, owner, rank, shapely.coverage_union_all(noded))
    found = _merged(faces, owner, len(shapes))
    held = np.flatnonzero(is_polygon(found))
    result = np.full(len(shapes), None, np.object_)
    if len(held) and is_sound(found[held]):
        found[held] = shapely.coverage_simplify(found[held], _STRAIGHT_PX)
        near = held[is_near(found[held], noded[held], closeness(found[held], noded[held]).iou)]
        result[near] = found[near]
    return result


def _caps(
    shapes: NDArray[np.object_], noded: NDArray[np.object_], rank: NDArray[np.int64]
) -> NDArray[np.object_]:
    """Draw a line between footprints that came apart, at either end of the wall that they shared."""
    one, other = shapely.STRtree(noded).query(noded)
    once = (one < other) & ((rank[one] > rank.min()) | (rank[other] > rank.min()))
    one, other = one[once], other[once]
    shared = shapely.line_merge(
        shapely.intersection(shapely.boundary(noded[one]), shapely.boundary(noded[other]))
    )
    ends, pair = shapely.get_parts(shapely.boundary(shared), return_index=True)
    one, other = one[pair], other[pair]
    from_one = shapely.shortest_line(shapely.boundary(shapes[one]), ends)
    from_other = shapely.shortest_line(shapely.boundary(shapes[other]), ends)
    start, stop = shapely.get_point(from_one, 0), shapely.get_point(from_other, 0)
    apart = ~shapely.intersects(shapes[one], stop) & ~shapely.intersects(shapes[other], start)
    apart &= shapely.distance(start, stop) <= _REACH_PX
    places = np.column_stack([shapely.get_coordinates(start[apart]), shapely.get_coordinates(stop[apart])])
    return np.asarray(shapely.linestrings(places.reshape(-1, 2, 2)), np.object_)


def _owners(
    faces: NDArray[np.object_], shapes: NDArray[np.object_], rank: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Find the first shape that covers each face; -1 for ground that none does."""
    order = np.argsort(rank, kind="stable")
    place, face = shapely.STRtree(shapely.point_on_surface(faces)).query(shapes[order], "intersects")
    first = np.full(len(faces), len(shapes))
    np.minimum.at(first, face, place)
    return np.asarray(np.append(order, _NONE)[first])


def _filled(
    faces: NDArray[np.object_],
    owner: NDArray[np.int64],
    rank: NDArray[np.int64],
    union: shapely.Geometry,
) -> NDArray[np.int64]:
    """Give ground between footprints to that which is beside it farthest, the ones drawn first left alone."""
    ground = np.flatnonzero(owner == _NONE)
    was_built = shapely.area(shapely.intersection(faces[ground], union)) > 0.5 * shapely.area(faces[ground])
    left = ground[was_built]
    while len(left):  # ground may lie beside other such ground alone
        owner = _given(faces, owner, left, rank > rank.min())
        still = left[owner[left] == _NONE]
        if len(still) == len(left):
            break
        left = still
    return owner


def _given(
    faces: NDArray[np.object_], owner: NDArray[np.int64], some: NDArray[np.int64], may: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Give faces to the owner, among those who may have them, of most of what is around."""
    which, beside = shapely.STRtree(faces).query(faces[some])
    one = some[which]
    apart = (owner[beside] != _NONE) & may[owner[beside]] & (one != beside)
    one, beside = one[apart], beside[apart]
    length = shapely.length(
        shapely.intersection(shapely.boundary(faces[one]), shapely.boundary(faces[beside]))
    )
    along = np.zeros((len(faces), len(may)))
    np.add.at(along, (one, owner[beside]), length)
    given = owner.copy()
    touched = some[along[some].any(axis=1)]
    given[touched] = along[touched].argmax(axis=1)
    return given


def _merged(faces: NDArray[np.object_], owner: NDArray[np.int64], count: int) -> NDArray[np.object_]:
    """Make one polygon of the faces of each; what is cut off from most of it is its neighbour's."""
    owner = owner.copy()
    stray = []
    for one in range(count):
        mine = np.flatnonzero(owner == one)
        parts = shapely.get_parts(shapely.coverage_union_all(faces[mine]))
        if len(parts) > 1:
            most = parts[shapely.area(parts).argmax()]
            off = mine[~shapely.intersects(most, shapely.point_on_surface(faces[mine]))]
            stray.extend(off.tolist())
    owner[stray] = _NONE
    owner = _given(faces, owner, np.array(stray, np.int64), np.ones(count, np.bool_))
    return np.array([shapely.coverage_union_all(faces[owner == one]) for one in range(count)], np.object_)
