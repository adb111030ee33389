"""Which share of polygons lies on ground that a layer says was seen, and on none that it says was lost.

An outline of a country has a million corners, and a building meets a few of them. So the edges of the ground
are indexed, not its polygons: where no edge crosses a building, one point tells of all of it; where some do,
they cut it into faces, of each of which one point tells.
"""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.projection import is_finite
from buildmap.vector.ragged import to_ragged

_EDGES = 16
"""Neighbours on an outline that are indexed as one."""
_DIGITS = 9
"""A polygon on seen ground alone has a share of 1, whatever the last bits of its area are."""
Move = Callable[[NDArray[np.object_]], NDArray[np.object_]]


class SeenPolygons:
    """Polygons as evidence; they may overlap."""

    def __init__(
        self,
        valid: NDArray[np.object_] | None,
        gaps: NDArray[np.object_] | None = None,
        *,
        move: Move | None = None,
    ) -> None:
        """Index the ground.

        Args:
            valid: (n,) valid polygons, ground that was seen; everywhere when None.
            gaps: (m,) valid polygons, ground that was not.
            move: Brings geometries into the CRS of the ground; None where they are in it.
        """
        nothing = np.empty(0, np.object_)
        ground = [nothing if one is None else one for one in (valid, gaps)]
        self._edges = shapely.STRtree(_edges(np.concatenate(ground)))
        self._valid, self._gaps = map(_Inside, ground)
        self._is_valid_everywhere = valid is None
        self._move = move

    def close(self) -> None:
        """Nothing is open."""

    def share(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give the share of the area of each polygon that was seen.

        Args:
            polygons: (n,) valid polygons or multipolygons.

        Returns:
            (n,) 0..1; 0 where a polygon is empty, or has no place in the CRS of the ground.
        """
        parts, owner = shapely.get_parts(polygons, return_index=True)
        moved = parts if self._move is None else self._move(parts)
        placed = is_finite(moved) & ~shapely.is_empty(moved)
        moved, owner = moved[placed], owner[placed]
        whole = np.bincount(owner, shapely.area(moved), len(polygons))
        seen = np.bincount(owner, self._seen_area(moved), len(polygons))
        share = np.divide(seen, whole, out=np.zeros(len(polygons)), where=whole > 0)
        return np.asarray(np.clip(np.round(share, _DIGITS), 0, 1))

    def _seen_area(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give the area of each of (n,) polygons that was seen; only those on a border are cut."""
        which, edge = self._edges.query(polygons)
        near = shapely.intersects(self._edges.geometries[edge], polygons[which])
        which, edge = which[near], edge[near]
        is_cut = np.zeros(len(polygons), np.bool_)
        is_cut[which] = True
        seen = np.zeros(len(polygons))
        seen[~is_cut] = self._seen_whole(polygons[~is_cut])
        if is_cut.any():
            lines = shapely.multilinestrings(self._edges.geometries[edge], indices=_dense(which))
            faces, of = _faces(polygons[is_cut], lines)
            seen[is_cut] = np.bincount(of, self._seen_whole(faces), int(is_cut.sum()))
        return seen

    def _seen_whole(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give the area of each polygon that was seen, where no edge of the ground crosses one."""
        points = shapely.point_on_surface(polygons)
        is_seen = ~self._gaps(points)
        if not self._is_valid_everywhere:
            is_seen &= self._valid(points)
        return np.where(is_seen, shapely.area(polygons), 0.0)


class _Inside:
    """Tells which points lie in some polygons."""

    def __init__(self, polygons: NDArray[np.object_]) -> None:
        shapely.prepare(polygons)
        self._tree = shapely.STRtree(polygons)

    def __call__(self, points: NDArray[np.object_]) -> NDArray[np.bool_]:
        inside = np.zeros(len(points), np.bool_)
        which, polygon = self._tree.query(points)
        inside[which[shapely.contains(self._tree.geometries[polygon], points[which])]] = True
        return inside


def _edges(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give the outlines of polygons as lines of some edges each."""
    outlines = to_ragged(polygons)
    lengths = np.diff(outlines.rings) - 1
    lines = -(-lengths // _EDGES)
    ring = np.repeat(np.arange(len(lengths)), lines)
    first = (np.arange(len(ring)) - np.repeat(np.cumsum(lines) - lines, lines)) * _EDGES
    corners = np.minimum(_EDGES, lengths[ring] - first) + 1
    line = np.repeat(np.arange(len(ring)), corners)
    step = np.arange(len(line)) - np.repeat(np.cumsum(corners) - corners, corners)
    at = outlines.rings[ring[line]] + first[line] + step
    return np.asarray(shapely.linestrings(outlines.corners[at], indices=line), np.object_)


def _faces(
    polygons: NDArray[np.object_], lines: NDArray[np.object_]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Cut each of (n,) polygons along lines; give the parts, and which polygon each is of."""
    # of lines cut off at the outline, the ends would lie beside it by a rounding, and close no face
    cuts = shapely.union(shapely.boundary(polygons), lines)
    faces, of = shapely.get_parts(shapely.polygonize(cuts[:, None]), return_index=True)
    inside = shapely.contains(polygons[of], shapely.point_on_surface(faces))
    return faces[inside], of[inside]


def _dense(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the different values of sorted numbers from 0 on."""
    return np.cumsum(np.diff(numbers, prepend=numbers[:1]) > 0)
