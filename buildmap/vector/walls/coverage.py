"""Footprints that touch are fitted together: every wall is one line, which both its owners share.

The outline of the whole group is fitted like that of one building. Each wall within becomes a line, or as
many as it needs; it ends on the outline or where walls meet. The faces between these lines are the new
footprints: they cannot overlap, and leave no gap.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import closeness
from buildmap.vector.ragged import to_ragged
from buildmap.vector.walls.arcs import find_walls
from buildmap.vector.walls.gaps import without_gaps
from buildmap.vector.walls.linework import draw_groups, on_grain
from buildmap.vector.walls.touching import with_shared_vertices

Fit = Callable[[NDArray[np.object_]], NDArray[np.object_]]
"""Fits (n,) detached polygons, each by itself."""

_MEMBERS_MAX = 2_000
_IOU_MIN = 0.8
_FORGIVEN_PX = 0.75
"""Distance by which all walls of a footprint may move, whatever that does to its IoU."""
_SIMPLIFY_PX = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFit:
    """Fitted footprints, in the order of those given."""

    polygons: NDArray[np.object_]
    """(n,) valid, in the unit of the input."""
    method: NDArray[np.object_]
    """(n,) "coverage"; "simplify" or "raw" for all of a group that could not be fitted."""
    iou_raw: NDArray[np.float64]
    """(n,) intersection over union with the footprint given."""
    max_shift: NDArray[np.float64]
    """(n,) greatest distance of a corner of either outline from the other."""


def fit_group(polygons: NDArray[np.object_], fit: Fit) -> GroupFit:
    """Fit one group of footprints that share walls; see `fit_groups`."""
    return fit_groups(polygons, np.zeros(len(polygons), np.int64), fit)


def fit_groups(polygons: NDArray[np.object_], group: NDArray[np.int64], fit: Fit) -> GroupFit:
    """Fit groups of footprints that share walls, so that they still do.

    A group whose faces are not one to one its footprints, or differ too much from them, is
    simplified as a whole (Visvalingam and Whyatt along shared walls) or left as it is. A group comes out
    the same wherever it lies by whole pixels, and whatever it is fitted with.

    Args:
        polygons: (n,) valid, in pixels; those of a group share walls and do not overlap.
        group: (n,) which group each belongs to.
        fit: Fits the outlines of groups; called once, with each moved to near the origin.
    """
    _, number = np.unique(group, return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(number)))
    place = np.repeat(_places(polygons[order], starts), np.diff(starts), axis=0)
    raw = _moved(polygons[order], -place)
    found = _fit_faces(raw, number[order], starts, fit)
    method = np.full(len(raw), "coverage", np.object_)
    for one in np.unique(number[order][shapely.is_missing(found)]):
        members = slice(starts[one], starts[one + 1])
        found[members], method[members] = _fall_back(raw[members])
    fitted = np.empty_like(raw)
    fitted[order] = np.where(method == "raw", polygons[order], _moved(found, place))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    near = closeness(found, raw)
    return GroupFit(
        polygons=fitted, method=method[back], iou_raw=near.iou[back], max_shift=near.shift_px[back]
    )


def _places(polygons: NDArray[np.object_], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the whole pixel above and left of each group, (groups, 2)."""
    left_top = shapely.bounds(polygons).reshape(-1, 4)[:, :2]
    return np.floor(np.minimum.reduceat(left_top, starts[:-1])) if len(polygons) else np.empty((0, 2))


def _moved(polygons: NDArray[np.object_], by: NDArray[np.float64]) -> NDArray[np.object_]:
    corners, owner = shapely.get_coordinates(polygons, return_index=True)
    return np.asarray(shapely.set_coordinates(polygons.copy(), corners + by[owner]))


def _fall_back(raw: NDArray[np.object_]) -> tuple[NDArray[np.object_], str]:
    """Simplify a group along its walls; leave it as it is where that spoils it."""
    noded, _ = _joined(raw)
    if _is_sound(noded):
        simple = _on_grain(shapely.coverage_simplify(noded, _SIMPLIFY_PX))
        if _is_sound(simple) and _is_near(simple, noded, closeness(simple, noded).iou).all():
            return simple, "simplify"
    return raw, "raw"


def _is_sound(polygons: NDArray[np.object_]) -> bool:
    is_polygon = shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON
    if not (is_polygon & ~shapely.is_empty(polygons) & shapely.is_valid(polygons)).all():
        return False
    return bool(shapely.coverage_is_valid(polygons))


def _is_near(
    polygons: NDArray[np.object_], raw: NDArray[np.object_], iou: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which polygons cover nearly the same ground as before."""
    area = (shapely.area(polygons) + shapely.area(raw)) / (1 + iou)  # of the union
    forgiven = _FORGIVEN_PX * shapely.length(polygons)
    return np.asarray((iou >= _IOU_MIN) | ((iou >= _IOU_MIN**2) & ((1 - iou) * area <= forgiven)))


def _on_grain(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    corners = shapely.get_coordinates(polygons)
    return np.asarray(shapely.set_coordinates(polygons.copy(), on_grain(corners)))


def _fit_faces(
    raw: NDArray[np.object_], number: NDArray[np.int64], starts: NDArray[np.int64], fit: Fit
) -> NDArray[np.object_]:
    """Give the new footprints; None for every one of a group where they are not what they should be."""
    noded, unions = raw.copy(), np.empty(len(starts) - 1, np.object_)
    for one in range(len(starts) - 1):
        members = slice(starts[one], starts[one + 1])
        noded[members], unions[one] = _joined(raw[members])
    walls, tangled = find_walls(to_ragged(shapely.orient_polygons(noded)), number)
    able = ~tangled & (shapely.get_type_id(unions) == shapely.GeometryType.POLYGON)
    able &= np.diff(starts) <= _MEMBERS_MAX
    owner = np.flatnonzero(able)
    rings = [
        shapely.Polygon(walls.points[walls.offsets[wall] : walls.offsets[wall + 1]])
        for wall in np.flatnonzero(walls.ends[:, 0] < 0)
    ]
    fitted = _on_grain(fit(np.concatenate([unions[owner], np.array(rings, np.object_)])))
    outlines = fitted[: len(owner)]
    drawn = draw_groups(walls, outlines, owner, fitted[len(owner) :], len(unions))
    faces, whose = [np.empty(0, np.object_)], [np.empty(0, np.int64)]
    for one, outline in zip(owner.tolist(), outlines, strict=True):
        parts = _faces(drawn[one], outline)
        if len(parts) == starts[one + 1] - starts[one] and _is_sound(parts):
            faces.append(parts)
            whose.append(np.full(len(parts), one))
    return _handed_out(np.concatenate(faces), np.concatenate(whose), noded, number)


def _joined(raw: NDArray[np.object_]) -> tuple[NDArray[np.object_], shapely.Geometry]:
    """Give a group without the gaps between its footprints, with all vertices shared, and its union.

    The union of footprints that overlap is empty.
    """
    closed = without_gaps(raw)
    if closed is None:
        noded = with_shared_vertices(raw)
        return noded, shapely.coverage_union_all(noded) if _is_sound(noded) else shapely.GeometryCollection()
    return closed


def _faces(drawn: NDArray[np.object_], outline: shapely.Polygon) -> NDArray[np.object_]:
    """Give what the lines of a group enclose, without courtyards."""
    faces = np.asarray(shapely.get_parts(shapely.polygonize(drawn)))
    if shapely.get_num_interior_rings(outline):
        return np.asarray(faces[shapely.contains(outline, shapely.point_on_surface(faces))])
    return faces


def _handed_out(
    faces: NDArray[np.object_],
    whose: NDArray[np.int64],
    noded: NDArray[np.object_],
    number: NDArray[np.int64],
) -> NDArray[np.object_]:
    """Give each face to the footprint of its group amid which it lies.

    Returns:
        (n,) None for all footprints of a group where one has no face, or one that is far from it.
    """
    footprint, face = shapely.STRtree(shapely.point_on_surface(faces)).query(noded, predicate="intersects")
    own = whose[face] == number[footprint]
    face, footprint = face[own], footprint[own]
    found = np.full(len(noded), None, np.object_)
    found[footprint] = faces[face]
    lost = np.bincount(footprint, minlength=len(noded)) != 1
    held = np.flatnonzero(~lost)
    lost[held] = ~_is_near(found[held], noded[held], closeness(found[held], noded[held]).iou)
    found[np.isin(number, number[lost])] = None
    return found
