"""Fits of neighbours that overlap: one after the other is cut or taken back, its own walls still shared."""

import heapq

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import closeness
from buildmap.vector.walls.seams import sew
from buildmap.vector.walls.sound import is_near, is_polygon, is_sound

_CUTS = 3
"""Times that a fit may be cut."""
SIMPLE, RAW = _CUTS + 1, _CUTS + 2
"""Steps; a lower one is how often the fit was cut."""
_TOUCH = 1e-6
"""Share of the smaller of two polygons that they may have in common by the rounding of coordinates."""
_CUT_PX = 1.5
"""Width of what is cut off."""
_SIMPLIFY_PX = 1.0
_SIMPLIFY_TOGETHER_PX = 2.0
"""Of Visvalingam and Whyatt: the square root of the area that a corner may stand for."""


def share_ground(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell which polygons have more in common with their partners than rounding makes."""
    shared = shapely.intersects(one, other)
    pairs = np.flatnonzero(shared)
    smaller = np.minimum(shapely.area(one[pairs]), shapely.area(other[pairs]))
    shared[pairs] = shapely.area(shapely.intersection(one[pairs], other[pairs])) > _TOUCH * smaller
    return np.asarray(shared)


class Fits:
    """Fits that are taken back until no two overlap."""

    polygons: NDArray[np.object_]
    """(n,) as they are now; what was not drawn anew is the object given."""
    step: NDArray[np.int64]
    """(n,) how far each was taken back."""

    def __init__(
        self,
        polygons: NDArray[np.object_],
        raw: NDArray[np.object_],
        component: NDArray[np.int64],
        step: NDArray[np.int64],
        *,
        in_pixels: bool,
    ) -> None:
        """Start with fits as they are.

        Args:
            polygons: (n,) valid.
            raw: (n,) valid outlines they were drawn from.
            component: (n,) ascending; those of one share walls.
            step: (n,) how far each was taken back already.
            in_pixels: Cut and simplify in pixels before going back to the outline itself.
        """
        self.polygons, self.step = polygons.copy(), step.copy()
        self._raw, self._component, self._in_pixels = raw, component, in_pixels
        self._bounds = shapely.bounds(self.polygons).reshape(-1, 4)

    def settle(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        """Take fits back until none of these pairs, nor any that come of it, overlap.

        Pairs are settled one by one in the order of their later member, so that what comes later does
        not change how they are.
        """
        queue = list(zip(np.maximum(one, other).tolist(), np.minimum(one, other).tolist(), strict=True))
        heapq.heapify(queue)
        while queue:
            later, earlier = heapq.heappop(queue)
            if not self._overlaps(later, earlier):
                continue
            heapq.heappush(queue, (later, earlier))
            for number in self._take_back(*self._intruder(later, earlier)):
                for partner in self._partners(number).tolist():
                    heapq.heappush(queue, (max(number, partner), min(number, partner)))

    def _overlaps(self, one: int, other: int) -> bool:
        if self.step[one] == RAW and self.step[other] == RAW:
            return False
        return bool(share_ground(self.polygons[[one]], self.polygons[[other]])[0])

    def _partners(self, number: int) -> NDArray[np.int64]:
        """Find what shares ground with a footprint, not both raw."""
        left, top, right, bottom = self._bounds[number]
        near = (self._bounds[:, 0] <= right) & (self._bounds[:, 2] >= left)
        near &= (self._bounds[:, 1] <= bottom) & (self._bounds[:, 3] >= top)
        near &= (self.step < RAW) | (self.step[number] < RAW)
        near[number] = False
        others = np.flatnonzero(near)
        return others[share_ground(self.polygons[others], np.full(len(others), self.polygons[number]))]

    def _intruder(self, one: int, other: int) -> tuple[int, int]:
        """Say which of two goes back, and the other: the one on whose own ground less of the overlap lies."""
        if RAW in (self.step[one], self.step[other]):
            return (one, other) if self.step[other] == RAW else (other, one)
        shared = shapely.intersection(self.polygons[one], self.polygons[other])
        own = shapely.area(shapely.intersection(shared, self._raw[[one, other]]))
        return (other, one) if own[1] < own[0] else (one, other)

    def _take_back(self, number: int, neighbour: int) -> list[int]:
        """Draw a footprint a step nearer to its outline; give all that changed with it."""
        while self.step[number] < RAW:
            shape = None
            if self.step[number] < _CUTS and self._in_pixels:
                shape = _cut(self.polygons[number], self.polygons[neighbour], self._raw[number])
            if shape is not None:
                self.step[number] += 1
            elif self.step[number] < SIMPLE and self._in_pixels:
                self.step[number] = SIMPLE
                shape = _simplified(self._raw[number])
            else:
                self.step[number] = RAW
                shape = self._raw[number]
            changed = self._put(number, shape)
            if changed:
                return changed
        return self._take_all_back(number)

    def _members(self, number: int) -> NDArray[np.int64]:
        first, stop = np.searchsorted(self._component, self._component[number] + np.arange(2))
        return np.arange(first, stop)

    def _put(self, number: int, shape: shapely.Polygon) -> list[int]:
        """Put a shape in the place of a footprint; none changes if it cannot share walls with the others."""
        members = self._members(number)
        if len(members) == 1:
            return self._replace(members, np.array([shape], np.object_))
        raw, shapes = self._raw[members], self.polygons[members]
        if not is_sound(raw):
            return []
        mine = members == number
        shapes[mine] = shape
        rank = np.where(mine, -1 if self.step[number] == RAW else 1, 0)
        place = np.floor(shapely.total_bounds(raw)[:2])
        sewn = sew(_moved(shapes, -place), rank, _moved(raw, -place))
        if shapely.is_missing(sewn).any():
            return []
        return self._replace(members, _moved(sewn, place))

    def _take_all_back(self, number: int) -> list[int]:
        """Take a whole component back a step."""
        members = self._members(number)
        raw = self._raw[members]
        is_fitted = self._in_pixels and (self.step[members] < SIMPLE).any()
        shapes = shapely.coverage_simplify(raw, _SIMPLIFY_TOGETHER_PX) if is_fitted else raw
        if is_fitted and shapely.is_valid(shapes).all():
            self.step[members] = SIMPLE
            return self._replace(members, shapes)
        self.step[members] = RAW
        return self._replace(members, raw)

    def _replace(self, members: NDArray[np.int64], shapes: NDArray[np.object_]) -> list[int]:
        """Enter shapes; give the numbers of those that are not as before."""
        anew = ~shapely.equals_exact(shapes, self.polygons[members], normalize=True)
        changed = members[anew]
        self.polygons[changed] = shapes[anew]
        self._bounds[changed] = shapely.bounds(shapes[anew]).reshape(-1, 4)
        return [int(number) for number in changed]


def _cut(
    polygon: shapely.Polygon, neighbour: shapely.Polygon, raw: shapely.Polygon
) -> shapely.Polygon | None:
    """Cut a narrow overlap off; None if it is not narrow, or what is left is no fit."""
    shared = shapely.intersection(polygon, neighbour)
    if 2 * shapely.area(shared) > _CUT_PX * shapely.length(shared):
        return None
    left = np.array([shapely.difference(polygon, neighbour)], np.object_)
    outline = np.array([raw], np.object_)
    if not is_polygon(left)[0] or not is_near(left, outline, closeness(left, outline).iou)[0]:
        return None
    return left[0]


def _simplified(raw: shapely.Polygon) -> shapely.Polygon:
    simple = shapely.simplify(raw, _SIMPLIFY_PX, preserve_topology=True)
    return simple if shapely.is_valid(simple) else raw


def _moved(polygons: NDArray[np.object_], by: NDArray[np.float64]) -> NDArray[np.object_]:
    return np.asarray(shapely.set_coordinates(polygons.copy(), shapely.get_coordinates(polygons) + by))
