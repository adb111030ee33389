"""Contours as points about one pixel apart, which show where a wall runs through its staircase of pixels.

The midpoints of the unit edges of a pixel-edge ring are the contour that marching squares draws at level one
half: straight on walls along rows, columns and diagonals, and never more than half a pixel off any other.
"""

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.ragged import owners, to_ragged

GRID = 1024.0
"""Steps per pixel of the corners that are not pixel corners: adding a whole number to them is exact."""


class Contours(NamedTuple):
    """Polygons in their own places, which begin at the floor of their boxes; rings are not closed."""

    corners: NDArray[np.float64]
    """(c, 2) x and y."""
    corner_rings: NDArray[np.int64]
    """(r + 1,) where each ring starts in `corners`."""
    points: NDArray[np.float64]
    """(p, 2) x and y, about a pixel apart."""
    point_rings: NDArray[np.int64]
    """(r + 1,) where each ring starts in `points`."""
    first_point: NDArray[np.int64]
    """(c,) the first point after a corner, counted from the start of the ring's points."""
    polygons: NDArray[np.int64]
    """(n + 1,) the exterior of each polygon; its interiors follow."""
    origin: NDArray[np.float64]
    """(n, 2) the place of each polygon."""


def contours(polygons: NDArray[np.object_]) -> Contours:
    """Cut polygons into points.

    An edge has as many points as it is long in whole pixels, one at least, in the middle of equal parts.

    Args:
        polygons: (n,) not empty, in pixels.

    Raises:
        ValueError: If something else than a polygon is among them, or one is empty.
    """
    if shapely.is_empty(polygons).any():
        raise ValueError("an empty polygon has no contour")
    flat = to_ragged(polygons)
    origin = np.floor(np.asarray(shapely.bounds(polygons)).reshape(-1, 4)[:, :2])
    closing = np.zeros(len(flat.corners), np.bool_)
    closing[flat.rings[1:] - 1] = True
    corners = (flat.corners - origin[owners(flat)])[~closing]
    rings = flat.rings - np.arange(len(flat.rings))
    points, point_rings, first_point = _cut_rings(corners, rings)
    return Contours(
        corners=corners,
        corner_rings=rings,
        points=points,
        point_rings=point_rings,
        first_point=first_point,
        polygons=flat.polygons,
        origin=origin,
    )


@compiled
def cut_ring(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cut one ring into points.

    Args:
        corners: (c, 2) not closed.

    Returns:
        (p, 2) points and (c,) the first point after each corner.
    """
    count = len(corners)
    first = np.empty(count + 1, np.int64)
    first[0] = 0
    for i in range(count):
        along = corners[(i + 1) % count] - corners[i]
        first[i + 1] = first[i] + max(1, round(float(np.hypot(along[0], along[1]))))
    points = np.empty((first[count], 2))
    for i in range(count):
        parts = first[i + 1] - first[i]
        following = (i + 1) % count
        for part in range(parts):
            share = (part + 0.5) / parts
            for axis in range(2):
                start = corners[i, axis]
                points[first[i] + part, axis] = start + share * (corners[following, axis] - start)
    return points, first[:count]


@compiled
def smooth(points: NDArray[np.float64], passes: int) -> NDArray[np.float64]:
    """Smooth a ring of points by the weights 1 6 15 20 15 6 1 of sixty-four, again and again.

    HR-Mamba smooths by local weights and gives no values; these are the binomial ones, near a Gaussian
    of 1.22 points.

    Args:
        points: (p, 2).
        passes: How often.

    Returns:
        (p, 2).
    """
    count = len(points)
    smoothed = points.copy()
    before = np.empty_like(points)
    for _ in range(passes):
        before[:] = smoothed
        for i in range(count):
            a, b, c = (i - 3) % count, (i - 2) % count, (i - 1) % count
            e, f, g = (i + 1) % count, (i + 2) % count, (i + 3) % count
            for axis in range(2):
                near = before[c, axis] + before[e, axis]
                far = 6.0 * (before[b, axis] + before[f, axis]) + (before[a, axis] + before[g, axis])
                smoothed[i, axis] = (20.0 * before[i, axis] + 15.0 * near + far) / 64.0
    return smoothed


@compiled
def turning(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the discrete curvature at each point of a ring.

    HR-Mamba gives no formula that can be read; this is the angle by which the ring turns at a point, over
    the mean length of the two steps that meet there.

    Args:
        points: (p, 2).

    Returns:
        (p,) radians per pixel, never negative; 0 where two points coincide.
    """
    count = len(points)
    curvature = np.zeros(count)
    for i in range(count):
        ax, ay = points[i, 0] - points[i - 1, 0], points[i, 1] - points[i - 1, 1]
        following = (i + 1) % count
        bx, by = points[following, 0] - points[i, 0], points[following, 1] - points[i, 1]
        one, other = np.sqrt(ax * ax + ay * ay), np.sqrt(bx * bx + by * by)
        if one > 0 and other > 0:
            angle = abs(np.arctan2(ax * by - ay * bx, ax * bx + ay * by))
            curvature[i] = 2.0 * angle / (one + other)
    return curvature


@compiled
def length_and_area(points: NDArray[np.float64]) -> tuple[float, float]:
    """Give the length of a ring in pixels, and its area in square pixels."""
    length, twice = 0.0, 0.0
    for i in range(len(points)):
        x, y = points[i - 1]
        to_x, to_y = points[i]
        length += np.sqrt((to_x - x) ** 2 + (to_y - y) ** 2)
        twice += x * to_y - to_x * y
    return length, abs(twice) / 2.0


@compiled
def _cut_rings(
    corners: NDArray[np.float64], rings: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut all rings: points, where each ring starts in them, first point after each corner."""
    count = len(rings) - 1
    starts = np.zeros(count + 1, np.int64)
    first = np.empty(len(corners), np.int64)
    points = np.empty((2 * len(corners) + 16, 2))
    for ring in range(count):
        cut, after = cut_ring(corners[rings[ring] : rings[ring + 1]])
        starts[ring + 1] = starts[ring] + len(cut)
        if starts[ring + 1] > len(points):
            larger = np.empty((2 * starts[ring + 1], 2))
            larger[: starts[ring]] = points[: starts[ring]]
            points = larger
        points[starts[ring] : starts[ring + 1]] = cut
        first[rings[ring] : rings[ring + 1]] = after
    return points[: starts[count]].copy(), starts, first
