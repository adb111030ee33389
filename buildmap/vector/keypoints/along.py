"""The order of keypoints along the outline of the predicted mask, which no concave roof confuses.

Every keypoint goes to the nearest place on the outline; where that lies says which ring it belongs to, and
the way along the ring says after which other keypoint it comes. Of keypoints that go to one place, such as a
corner of the outline, the lower x, then the lower y, comes first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.keypoints.points import Keypoints, Order
from buildmap.vector.ragged import Ragged


class _Flat(NamedTuple):
    """Keypoints beside their outlines."""

    points: NDArray[np.float64]
    """(k, 2) x and y."""
    score: NDArray[np.float64]
    """(k,) higher is better."""
    away_px: NDArray[np.float64]
    """(k,) distance from the outline."""


def order_along(keypoints: Keypoints, outlines: Ragged, *, merge_px: float, reach_px: float) -> Order:
    """Order the keypoints of each object along its outline, whatever their order.

    An exterior to which fewer than three belong leaves its object without a ring; an interior to which fewer
    than three belong is left out.

    Args:
        keypoints: Of n objects.
        outlines: n polygons that are not empty.
        merge_px: Of two that follow each other and are no farther apart, the one with the higher score
            stays, then the one nearer to the outline.
        reach_px: Keypoints farther from the outline are left out.
    """
    ring, way_px, away_px = _project(keypoints.points, keypoints.offsets, outlines)
    (x, y), near = keypoints.points.T, np.flatnonzero(away_px <= reach_px)
    in_order = near[np.lexsort((y[near], x[near], way_px[near], ring[near]))]
    flat = _Flat(keypoints.points, keypoints.score, away_px)
    ring_count = len(outlines.rings) - 1
    kept = _distinct(flat, in_order, _starts(ring[in_order], ring_count), merge_px)
    counts = np.bincount(ring[kept], minlength=ring_count)
    has_exterior = counts[outlines.polygons[:-1]] >= 3
    is_ring = (counts >= 3) & np.repeat(has_exterior, np.diff(outlines.polygons))
    return Order(
        corner=kept[is_ring[ring[kept]]],
        rings=np.append(0, np.cumsum(counts[is_ring])),
        polygons=np.append(0, np.cumsum(is_ring))[outlines.polygons],
    )


def _starts(ring: NDArray[np.int64], ring_count: int) -> NDArray[np.int64]:
    """Give, (ring_count + 1,), where each ring starts in an ascending list of rings."""
    return np.searchsorted(ring, np.arange(ring_count + 1))


@compiled
def _project(
    points: NDArray[np.float64], offsets: NDArray[np.int64], outlines: Ragged
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Give the ring nearest to each keypoint, the way along it from its first corner, and its distance."""
    count = len(points)
    ring_of, way_px, away_px = np.empty(count, np.int64), np.empty(count), np.empty(count)
    for number in range(len(offsets) - 1):
        for point in range(offsets[number], offsets[number + 1]):
            ring_of[point], way_px[point], away_px[point] = _nearest_place(
                points[point, 0], points[point, 1], outlines, number
            )
    return ring_of, way_px, away_px


@compiled
def _nearest_place(x: float, y: float, outlines: Ragged, number: int) -> tuple[int, float, float]:
    """Give ring, way along it and distance of the first of the nearest places on an outline."""
    corners, rings, polygons = outlines
    best_ring, best_way, best_squared = polygons[number], 0.0, np.inf
    for ring in range(polygons[number], polygons[number + 1]):
        way = 0.0
        for corner in range(rings[ring], rings[ring + 1] - 1):
            along_x = corners[corner + 1, 0] - corners[corner, 0]
            along_y = corners[corner + 1, 1] - corners[corner, 1]
            to_x, to_y = x - corners[corner, 0], y - corners[corner, 1]
            squared_length = along_x**2 + along_y**2
            share = 0.0
            if squared_length > 0:
                share = min(max((to_x * along_x + to_y * along_y) / squared_length, 0.0), 1.0)
            squared = (to_x - share * along_x) ** 2 + (to_y - share * along_y) ** 2
            length = np.sqrt(squared_length)
            if squared < best_squared:
                best_ring, best_way, best_squared = ring, way + share * length, squared
            way += length
    return best_ring, best_way, np.sqrt(best_squared)


@compiled
def _distinct(
    keypoints: _Flat, chosen: NDArray[np.int64], rings: NDArray[np.int64], merge_px: float
) -> NDArray[np.int64]:
    """Make one of keypoints that follow each other closely along a ring.

    Args:
        keypoints: All.
        chosen: (c,) some, by ring and way.
        rings: (r + 1,) where each ring starts in `chosen`.
        merge_px: How close.

    Returns:
        (at most c,) those that stay, in their order.
    """
    kept = np.empty_like(chosen)
    count = 0
    for ring in range(len(rings) - 1):
        start = count
        for index in range(rings[ring], rings[ring + 1]):
            if count > start and _are_close(keypoints, kept[count - 1], chosen[index], merge_px):
                kept[count - 1] = _better(keypoints, kept[count - 1], chosen[index])
            else:
                kept[count] = chosen[index]
                count += 1
        # a ring has no end: its last corner may be its first
        while count > start + 1 and _are_close(keypoints, kept[start], kept[count - 1], merge_px):
            kept[start] = _better(keypoints, kept[start], kept[count - 1])
            count -= 1
    return kept[:count]


@inlined
def _are_close(keypoints: _Flat, one: int, other: int, merge_px: float) -> bool:
    x = keypoints.points[one, 0] - keypoints.points[other, 0]
    y = keypoints.points[one, 1] - keypoints.points[other, 1]
    return bool(x * x + y * y <= merge_px * merge_px)


@inlined
def _better(keypoints: _Flat, one: int, other: int) -> int:
    """Give the one with the higher score, then the nearer to the outline, then the first."""
    if keypoints.score[other] != keypoints.score[one]:
        return other if keypoints.score[other] > keypoints.score[one] else one
    return other if keypoints.away_px[other] < keypoints.away_px[one] else one
