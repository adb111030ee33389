"""Keypoints of a few objects."""

from collections.abc import Sequence

import numpy as np

from buildmap.vector.keypoints.points import Keypoints, Order

Corners = Sequence[tuple[float, float]]


def keypoints_of(*objects: Corners, score: Sequence[float] | None = None) -> Keypoints:
    counts = [len(corners) for corners in objects]
    points = np.array([corner for corners in objects for corner in corners], float).reshape(-1, 2)
    return Keypoints(
        points=points,
        score=np.ones(len(points)) if score is None else np.array(score, float),
        offsets=np.append(0, np.cumsum(counts)).astype(np.int64),
    )


def rings_of(keypoints: Keypoints, order: Order) -> list[list[list[tuple[float, float]]]]:
    """List the corners of each ring of each object."""
    rings = [
        [tuple(point) for point in keypoints.points[order.corner[first:stop]].tolist()]
        for first, stop in zip(order.rings[:-1], order.rings[1:], strict=True)
    ]
    return [rings[first:stop] for first, stop in zip(order.polygons[:-1], order.polygons[1:], strict=True)]


def turned(ring: Corners) -> list[tuple[float, float]]:
    """Begin a ring at its lowest corner and run towards the lower of its neighbours."""
    corners = [(float(x), float(y)) for x, y in ring]
    first = corners.index(min(corners))
    forward = corners[first:] + corners[:first]
    return min(forward, [forward[0], *forward[:0:-1]])
