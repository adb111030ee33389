"""The grouping of the paper on keypoint footprints (section 2.2, figure 5): from nearest to nearest.

What it says: the keypoints farthest left, right, down and up are the group of the start. The shortest of the
distances from one of them to any other keypoint is the first edge. From there, each keypoint is joined to its
nearest, until the last meets the first. Where a concave shape leaves keypoints over, the first is joined to
its next closest.

What it leaves open, and what is done here: the walk begins at the extreme keypoint of the first edge, and
goes on from the other end of that edge. The nearest is looked for among the keypoints not yet used and, from
the third corner on, the first one: the walk is closed where that is nearest, and only then can keypoints be
left over. Then the closing edge is taken away again, the first keypoint is joined to the nearest of those
left over, and the walk goes on from there, towards the other end; as often as needed, so that every keypoint
becomes a corner. Of equal distances, an unused keypoint goes before the first one, and the lower x, then the
lower y, before the higher. Edges may cross.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.keypoints.points import Keypoints, Order


def walk(keypoints: Keypoints) -> Order:
    """Join the keypoints of each object to one ring, whatever their order.

    Keypoints at one place count once; an object with fewer than three has no ring.
    """
    owner, (x, y) = keypoints.owner, keypoints.points.T
    in_order = np.lexsort((y, x, owner))
    key = np.column_stack([owner, x, y])[in_order]
    is_new = np.append(True, (np.diff(key, axis=0) != 0).any(axis=1))[: len(in_order)]
    distinct, owner = in_order[is_new], owner[in_order[is_new]]
    counts = np.bincount(owner, minlength=len(keypoints))
    able = counts >= 3
    distinct = distinct[able[owner]]
    rings = np.append(0, np.cumsum(counts[able]))
    corner = distinct[_walk_all(np.ascontiguousarray(keypoints.points[distinct]), rings)]
    return Order(corner=corner, rings=rings, polygons=np.append(0, np.cumsum(able)))


@compiled
def _walk_all(points: NDArray[np.float64], rings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give, (k,), the numbers of the points in the order of the walks; no object has fewer than three."""
    chain = np.empty(len(points), np.int64)
    for ring in range(len(rings) - 1):
        first, stop = rings[ring], rings[ring + 1]
        _walk(points[first:stop], chain[first:stop])
        chain[first:stop] += first
    return chain


@compiled
def _walk(points: NDArray[np.float64], chain: NDArray[np.int64]) -> None:
    """Write the order of the points of one object."""
    chain[0], chain[1] = _first_edge(points)
    unused = np.ones(len(points), np.bool_)
    unused[chain[0]] = unused[chain[1]] = False
    for count in range(2, len(points)):
        head, start = chain[count - 1], chain[0]
        following = _nearest(points, unused, head)
        if count >= 3 and _squared(points, head, start) < _squared(points, head, following):
            chain[:count] = chain[:count][::-1].copy()
            following = _nearest(points, unused, start)
        chain[count] = following
        unused[following] = False


@compiled
def _first_edge(points: NDArray[np.float64]) -> tuple[int, int]:
    """Find the extreme point that is nearest to any other, and that other."""
    x, y = points[:, 0], points[:, 1]
    others = np.ones(len(points), np.bool_)
    best, best_squared = (0, 1), np.inf
    for extreme in (int(np.argmin(x)), int(np.argmax(x)), int(np.argmax(y)), int(np.argmin(y))):
        others[extreme] = False
        other = _nearest(points, others, extreme)
        others[extreme] = True
        if _squared(points, extreme, other) < best_squared:
            best, best_squared = (extreme, other), _squared(points, extreme, other)
    return best


@inlined
def _nearest(points: NDArray[np.float64], among: NDArray[np.bool_], here: int) -> int:
    """Find the first of the nearest points among some."""
    nearest, nearest_squared = -1, np.inf
    for other in range(len(points)):
        if among[other]:
            squared = (points[other, 0] - points[here, 0]) ** 2 + (points[other, 1] - points[here, 1]) ** 2
            if squared < nearest_squared:
                nearest, nearest_squared = other, squared
    return nearest


@inlined
def _squared(points: NDArray[np.float64], one: int, other: int) -> float:
    return float((points[one, 0] - points[other, 0]) ** 2 + (points[one, 1] - points[other, 1]) ** 2)
