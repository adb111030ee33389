"""Footprints that touch are fitted together: every wall is one line, which both its owners share.

The outline of the whole group is fitted like that of one building. Each wall within becomes a line, or as
many as it needs; it ends on the outline or where walls meet. The faces between these lines are the new
footprints: they cannot overlap, and leave no gap.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import closeness
from buildmap.vector.walls.faces import Fit, fit_faces
from buildmap.vector.walls.gaps import without_gaps
from buildmap.vector.walls.mending import mend, simplified
from buildmap.vector.walls.sound import is_near, is_sound
from buildmap.vector.walls.touching import with_shared_vertices


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFit:
    """Fitted footprints, in the order of those given."""

    polygons: NDArray[np.object_]
    """(n,) valid, in the unit of the input."""
    method: NDArray[np.object_]
    """(n,) "coverage"; "simplify" or "raw" for what could not be fitted."""
    iou_raw: NDArray[np.float64]
    """(n,) intersection over union with the footprint given."""
    max_shift: NDArray[np.float64]
    """(n,) greatest distance of a corner of either outline from the other."""


def fit_groups(polygons: NDArray[np.object_], group: NDArray[np.int64], fit: Fit) -> GroupFit:
    """Fit groups of footprints that share walls, so that they still do.

    A footprint that gets no face of its own, or one that differs too much from it, is drawn by itself or
    simplified (Visvalingam and Whyatt along shared walls), and the others are fitted again; a group that
    still cannot be fitted is simplified as a whole, or left as it is. A group comes out the same wherever it
    lies by whole pixels, and whatever it is fitted with.

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
    noded, unions = raw.copy(), np.empty(len(starts) - 1, np.object_)
    for one in range(len(unions)):
        members = slice(starts[one], starts[one + 1])
        noded[members], unions[one] = _joined(raw[members])
    found = fit_faces(noded, number[order], unions, fit)
    method = np.full(len(raw), "coverage", np.object_)
    able = (shapely.get_type_id(unions) == shapely.GeometryType.POLYGON)[number[order]]
    found[able], is_simple = mend(found[able], noded[able], number[order][able], fit)
    method[np.flatnonzero(able)[is_simple]] = "simplify"
    for one in np.unique(number[order][shapely.is_missing(found)]):
        members = slice(starts[one], starts[one + 1])
        found[members], method[members] = _fall_back(raw[members], noded[members])
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


def _fall_back(raw: NDArray[np.object_], noded: NDArray[np.object_]) -> tuple[NDArray[np.object_], str]:
    """Simplify a group along its walls; leave it as it is where that spoils it."""
    if is_sound(noded):
        simple = simplified(noded)
        if is_near(simple, noded, closeness(simple, noded).iou).all():
            return simple, "simplify"
    return raw, "raw"


def _joined(raw: NDArray[np.object_]) -> tuple[NDArray[np.object_], shapely.Geometry]:
    """Give a group without the gaps between its footprints, with all vertices shared, and its union.

    The union of footprints that overlap is empty.
    """
    closed = without_gaps(raw)
    if closed is None:
        noded = with_shared_vertices(raw)
        return noded, shapely.coverage_union_all(noded) if is_sound(noded) else shapely.GeometryCollection()
    return closed
