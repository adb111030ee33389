"""The area that two polygons share, many pairs a millisecond, with no geometry built for it.

A polygon is the sum of the ground below its upper edges minus that below its lower edges; so the area shared
by two polygons is the sum, with both signs, of the area below the lower of two edges where both are.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.ragged import Ragged, to_ragged

_MANY_EDGE_PAIRS = 1_000_000
"""From here on, making the outline of the intersection is faster."""


def common_area(polygons: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the area each polygon shares with the one it is paired with.

    Args:
        polygons: (n,) valid, not empty.
        others: (n,) valid, not empty.

    Returns:
        (n,) in the square of the unit of the coordinates.
    """
    pairs = np.arange(len(polygons))
    one, other = to_ragged(polygons), to_ragged(others)
    box, other_box = shapely.bounds(polygons).reshape(-1, 4), shapely.bounds(others).reshape(-1, 4)
    area = np.asarray(shared_areas(one, other, box, other_box, pairs, pairs))
    many = np.isnan(area)
    area[many] = shapely.area(shapely.intersection(polygons[many], others[many]))
    return area


@compiled
def shared_areas(
    left: Ragged,
    right: Ragged,
    left_box: NDArray[np.float64],
    right_box: NDArray[np.float64],
    lefts: NDArray[np.int64],
    rights: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum over the edges of each pair of polygons; NaN where these are too many.

    Args:
        left: Polygons of the one layer.
        right: Polygons of the other.
        left_box: (pairs, 4) bounds of the one polygon of each pair.
        right_box: (pairs, 4) bounds of the other.
        lefts: (pairs,) the one polygon.
        rights: (pairs,) the other.
    """
    shared = np.empty(len(lefts))
    ours, theirs = np.empty((64, 5)), np.empty((64, 5))
    for pair in range(len(lefts)):
        low = np.maximum(left_box[pair, :2], right_box[pair, :2])
        width = min(left_box[pair, 2], right_box[pair, 2]) - low[0]
        ours, own_count = _collect_edges(left, lefts[pair], low, width, ours)
        theirs, their_count = _collect_edges(right, rights[pair], low, width, theirs)
        if own_count * their_count > _MANY_EDGE_PAIRS:
            shared[pair] = np.nan
            continue
        total = 0.0
        for one in range(own_count):
            for other in range(their_count):
                total += _area_below(ours[one], theirs[other])
        shared[pair] = total
    return shared


@compiled
def _collect_edges(
    flat: Ragged, polygon: int, low: NDArray[np.float64], width: float, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Write the edges of a polygon in a box and above it, seen from the lower left of the box.

    Edges wholly below the box may be left out: one of the two polygons has none there, so all that the
    others add is added and taken away. One that lies on the lower side of the box has to stay.

    Args:
        flat: Polygons.
        polygon: Which.
        low: (2,) x and y of the lower left of the box.
        width: Of the box.
        edges: (room, 5) written to: left x, right x, left y, slope; 1 for an edge above the polygon's
            ground, -1 for one below it.

    Returns:
        `edges`, or a larger array in its place, and the number of edges.
    """
    coordinates, ring_offsets, polygon_offsets = flat
    first, stop = polygon_offsets[polygon], polygon_offsets[polygon + 1]
    most = ring_offsets[stop] - ring_offsets[first]
    if most > len(edges):
        edges = np.empty((2 * most, 5))
    count = 0
    for ring in range(first, stop):
        corners = coordinates[ring_offsets[ring] : ring_offsets[ring + 1]]
        side = 1.0 if (_doubled_area(corners) > 0) == (ring == first) else -1.0
        for corner in range(len(corners) - 1):
            x, y = corners[corner, 0] - low[0], corners[corner, 1] - low[1]
            next_x, next_y = corners[corner + 1, 0] - low[0], corners[corner + 1, 1] - low[1]
            if min(x, next_x) >= width or max(x, next_x) <= 0 or x == next_x or max(y, next_y) < 0:
                continue
            slope = (next_y - y) / (next_x - x)
            if next_x < x:  # leftwards, on top of an anticlockwise ring
                edges[count] = (next_x, x, next_y, slope, side)
            else:
                edges[count] = (x, next_x, y, slope, -side)
            count += 1
    return edges, count


@inlined
def _doubled_area(ring: NDArray[np.float64]) -> float:
    """Give twice the area of a closed ring, above 0 where it runs anticlockwise."""
    total = 0.0
    for corner in range(1, len(ring) - 2):
        x, y = ring[corner, 0] - ring[0, 0], ring[corner, 1] - ring[0, 1]
        next_x, next_y = ring[corner + 1, 0] - ring[0, 0], ring[corner + 1, 1] - ring[0, 1]
        total += x * next_y - next_x * y
    return total


@inlined
def _area_below(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Give the area below the lower of two edges where both are, with the sign of both."""
    start, stop = max(one[0], other[0]), min(one[1], other[1])
    if start >= stop:
        return 0.0
    one_start, one_stop = one[2] + one[3] * (start - one[0]), one[2] + one[3] * (stop - one[0])
    other_start, other_stop = (
        other[2] + other[3] * (start - other[0]),
        other[2] + other[3] * (stop - other[0]),
    )
    before, after = one_start - other_start, one_stop - other_stop
    height = min(one_start, other_start) + min(one_stop, other_stop)
    if (before < 0 < after) or (
        after < 0 < before
    ):  # where they cross, the lower line bends up from its chord
        height += abs(before * after / (before - after))
    return float(one[4] * other[4] * (stop - start) * height / 2)
