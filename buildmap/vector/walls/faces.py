"""What the lines of a group enclose, and whose it is."""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import closeness
from buildmap.vector.ragged import to_ragged
from buildmap.vector.walls.arcs import find_walls
from buildmap.vector.walls.linework import GRAIN, draw_groups, on_grain
from buildmap.vector.walls.sound import is_near, is_polygon, is_sound
from buildmap.vector.walls.welding import weld

Fit = Callable[[NDArray[np.object_]], NDArray[np.object_]]
"""Fits (n,) detached polygons, each by itself."""

_MEMBERS_MAX = 2_000


def fit_faces(
    noded: NDArray[np.object_], number: NDArray[np.int64], unions: NDArray[np.object_], fit: Fit
) -> NDArray[np.object_]:
    """Fit the outlines of groups and the walls within, and give each footprint what these enclose for it.

    Args:
        noded: (n,) sorted by group; those of a group share all vertices along their walls.
        number: (n,) group of each, from 0, ascending.
        unions: (groups,) union of the footprints of each; a group whose union is no polygon is lost.
        fit: Fits outlines; called once.

    Returns:
        (n,) valid polygons, those of a group a coverage; None for a footprint that has no face, or one
        that is far from it.
    """
    starts = np.searchsorted(number, np.arange(len(unions) + 1))
    walls, tangled = find_walls(to_ragged(shapely.orient_polygons(noded)), number)
    able = ~tangled & (shapely.get_type_id(unions) == shapely.GeometryType.POLYGON)
    able &= np.diff(starts) <= _MEMBERS_MAX
    owner = np.flatnonzero(able)
    rings = [
        shapely.Polygon(walls.points[walls.offsets[wall] : walls.offsets[wall + 1]])
        for wall in np.flatnonzero(walls.ends[:, 0] < 0)
    ]
    fitted = fit(np.concatenate([unions[owner], np.array(rings, np.object_)]))
    fitted = shapely.set_coordinates(fitted.copy(), on_grain(shapely.get_coordinates(fitted)))
    outlines = fitted[: len(owner)]
    drawn = draw_groups(walls, outlines, owner, fitted[len(owner) :], len(unions))
    found = np.full(len(noded), None, np.object_)
    for one, outline in zip(owner.tolist(), outlines, strict=True):
        members = slice(starts[one], starts[one + 1])
        found[members] = _handed_out(drawn[one], outline, noded[members])
    held = np.flatnonzero(~shapely.is_missing(found))
    far = held[~is_near(found[held], noded[held], closeness(found[held], noded[held]).iou)]
    found[far] = None
    return found


def _handed_out(
    drawn: NDArray[np.object_], outline: shapely.Polygon, noded: NDArray[np.object_]
) -> NDArray[np.object_]:
    """Give each footprint of a group what its lines enclose amid it; None for nothing, or several parts."""
    faces = _faces(drawn, outline)
    if len(faces) == len(noded) and is_sound(faces):
        footprint, face = shapely.STRtree(shapely.point_on_surface(faces)).query(noded, "intersects")
        if len(face) == len(noded) and (np.sort(footprint) == np.arange(len(noded))).all():
            found = np.empty(len(noded), np.object_)
            found[footprint] = faces[face]
            return found
    faces = _faces(shapely.get_parts(shapely.union_all(drawn, grid_size=1 / GRAIN)), outline)
    return _shared_out(faces, noded)


def _faces(drawn: NDArray[np.object_], outline: shapely.Polygon) -> NDArray[np.object_]:
    """Give what the lines of a group enclose, without courtyards."""
    faces = np.asarray(shapely.get_parts(shapely.polygonize(drawn)))
    if shapely.get_num_interior_rings(outline):
        return np.asarray(faces[shapely.contains(outline, shapely.point_on_surface(faces))])
    return faces


def _shared_out(faces: NDArray[np.object_], noded: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give each face, where there are too many, to the footprint it has most in common with."""
    found = np.full(len(noded), None, np.object_)
    face, footprint = shapely.STRtree(noded).query(faces)
    common = shapely.area(shapely.intersection(faces[face], noded[footprint]))
    order = np.lexsort((footprint, -common, face))
    face, footprint, common = face[order], footprint[order], common[order]
    most = np.append(True, np.diff(face) > 0)[: len(face)] & (common > 0)
    for one in np.unique(footprint[most]).tolist():
        found[one] = shapely.coverage_union_all(faces[face[most & (footprint == one)]])
    found[~is_polygon(found)] = None
    held = ~shapely.is_missing(found)
    if not is_sound(found[held]):
        return np.full(len(noded), None, np.object_)
    found[held] = weld(found[held])
    return found
