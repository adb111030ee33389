"""How far one outline lies from another, and at what angle: compiled loops over pairs of polygons.

Coordinates are in metres, or in any unit that is the same along x and y.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.ragged import Ragged

_STRETCH_MAX = 2.0
_EDGES_IN_RUN = 16
_ROUNDING = 1 + 1e-9


class _Runs(NamedTuple):
    """Edges that follow each other, some at a time, and the boxes around them."""

    first: NDArray[np.int64]
    """(rings + 1,) the first run of each ring."""
    boxes: NDArray[np.float64]
    """(runs, 4) left, bottom, right, top."""


@compiled
def sum_distances(outlines: Ragged, targets: Ragged) -> NDArray[np.float64]:
    """Sum the distances from the corners of each exterior to the exterior of the polygon it is paired with.

    Args:
        outlines: n polygons; the corner that closes a ring counts once.
        targets: n polygons.

    Returns:
        (n,).
    """
    sums, runs = np.zeros(len(outlines.polygons) - 1), _cut_into_runs(targets)
    for pair in range(len(sums)):
        ring, target = outlines.polygons[pair], targets.polygons[pair]
        near = -1
        for corner in range(outlines.rings[ring], outlines.rings[ring + 1] - 1):
            x, y, _, _ = _wall(outlines, corner)
            foot_x, foot_y, near, _ = _nearest(targets, runs, (target, target + 1), near, x, y)
            sums[pair] += math.hypot(x - foot_x, y - foot_y)
    return sums


@compiled
def max_tangent_angles(outlines: Ragged, targets: Ragged, spacing: float) -> NDArray[np.float64]:
    """Give the largest angle between each outline and the outline it is paired with.

    Every edge is cut into steps of about `spacing`, whose ends are projected to the nearest points of the
    target. The angle of a step is the smallest between it and one of these lines, 0..90 degrees: its
    projection, and the target's edges on which the projection starts and ends. Steps whose projection is
    twice as long or longer, or half as long or shorter, are left out.

    Args:
        outlines: n polygons, all of whose rings are walked.
        targets: n polygons, to all of whose rings is projected.
        spacing: Length of a step; an edge has at least one.

    Returns:
        (n,) degrees; NaN where every step is left out.
    """
    largest, runs = np.full(len(outlines.polygons) - 1, np.nan), _cut_into_runs(targets)
    for pair in range(len(largest)):
        rings = targets.polygons[pair], targets.polygons[pair + 1]
        angle = -1.0
        for ring in range(outlines.polygons[pair], outlines.polygons[pair + 1]):
            angle = max(angle, _ring_angle(outlines, ring, targets, runs, rings, spacing))
        if angle >= 0:
            largest[pair] = np.degrees(angle)
    return largest


@compiled
def _ring_angle(
    outlines: Ragged, ring: int, targets: Ragged, runs: _Runs, rings: tuple[int, int], spacing: float
) -> float:
    """Give the largest angle along one ring, in radians; -1 where every step is left out."""
    angle = -1.0
    start = outlines.rings[ring]
    x, y, _, _ = _wall(outlines, start)
    foot = _nearest(targets, runs, rings, -1, x, y)
    for corner in range(start, outlines.rings[ring + 1] - 1):
        from_x, from_y, wall_x, wall_y = _wall(outlines, corner)
        length = math.hypot(wall_x, wall_y)
        if not length > 0:  # nor is that of an outline outside the CRS
            continue
        steps = max(1, round(length / spacing))
        for step in range(1, steps + 1):
            x, y = from_x + wall_x * step / steps, from_y + wall_y * step / steps
            following = _nearest(targets, runs, rings, foot[2], x, y)
            moved_x, moved_y = following[0] - foot[0], following[1] - foot[1]
            stretch = math.hypot(moved_x, moved_y) * steps / length
            if 1 / _STRETCH_MAX < stretch < _STRETCH_MAX:
                here = _line_angle(wall_x, wall_y, moved_x, moved_y)
                for edge in (foot[2], foot[3], following[2], following[3]):
                    _, _, edge_x, edge_y = _wall(targets, edge)
                    here = min(here, _line_angle(wall_x, wall_y, edge_x, edge_y))
                angle = max(angle, here)
            foot = following
    return angle


@compiled
def _nearest(
    targets: Ragged, runs: _Runs, rings: tuple[int, int], near: int, x: float, y: float
) -> tuple[float, float, int, int]:
    """Find the point of some rings that is nearest to (x, y); of equally near ones the first.

    Args:
        targets: Holds the rings.
        runs: Of all its edges: those farther away than the nearest known are passed over.
        rings: The first, and one past the last.
        near: Corner where an edge starts that may well be near; -1 if none is known.
        x: Of the point.
        y: Of the point.

    Returns:
        The point, and the corners where the edges start on which it lies: twice the same one, unless it
        is a corner itself.
    """
    first = targets.rings[rings[0]]
    best, best_x, best_y, edge, other = np.inf, 0.0, 0.0, first, first
    reach = np.inf
    if near >= 0:
        foot_x, foot_y, _ = _foot(targets, near, x, y)
        reach = _ROUNDING * ((x - foot_x) ** 2 + (y - foot_y) ** 2)
    for ring in range(rings[0], rings[1]):
        start, stop = targets.rings[ring], targets.rings[ring + 1] - 1
        for run in range(runs.first[ring], runs.first[ring + 1]):
            if _square_to_box(runs.boxes[run], x, y) > reach:
                continue
            begin = start + (run - runs.first[ring]) * _EDGES_IN_RUN
            for corner in range(begin, min(begin + _EDGES_IN_RUN, stop)):
                foot_x, foot_y, share = _foot(targets, corner, x, y)
                distance = (x - foot_x) ** 2 + (y - foot_y) ** 2
                if distance < best:
                    best, best_x, best_y, edge, other = distance, foot_x, foot_y, corner, corner
                    reach = min(reach, _ROUNDING * best)
                    if share == 0:
                        other = _neighbour(targets, ring, corner, -1)
                    elif share == 1:
                        other = _neighbour(targets, ring, corner, 1)
    return best_x, best_y, edge, other


@compiled
def _foot(targets: Ragged, corner: int, x: float, y: float) -> tuple[float, float, float]:
    """Give the point of an edge nearest to (x, y), and where on it that lies, 0..1; NaN without a length."""
    from_x, from_y, wall_x, wall_y = _wall(targets, corner)
    square = wall_x * wall_x + wall_y * wall_y
    if not square > 0:  # a corner that is repeated
        return np.nan, np.nan, np.nan
    share = min(max(((x - from_x) * wall_x + (y - from_y) * wall_y) / square, 0.0), 1.0)
    return from_x + share * wall_x, from_y + share * wall_y, share


@compiled
def _cut_into_runs(targets: Ragged) -> _Runs:
    """Put boxes around runs of edges."""
    rings = len(targets.rings) - 1
    first = np.zeros(rings + 1, np.int64)
    for ring in range(rings):
        edges = max(targets.rings[ring + 1] - targets.rings[ring] - 1, 0)
        first[ring + 1] = first[ring] + -(-edges // _EDGES_IN_RUN)
    boxes = np.empty((first[-1], 4))
    for ring in range(rings):
        for run in range(first[ring], first[ring + 1]):
            start = targets.rings[ring] + (run - first[ring]) * _EDGES_IN_RUN
            corners = targets.corners[start : min(start + _EDGES_IN_RUN + 1, targets.rings[ring + 1])]
            boxes[run] = corners[:, 0].min(), corners[:, 1].min(), corners[:, 0].max(), corners[:, 1].max()
    return _Runs(first, boxes)


@compiled
def _square_to_box(box: NDArray[np.float64], x: float, y: float) -> float:
    """Give the square of the distance from a point to a box, 0 inside; not above any to what is in it."""
    across = max(box[0] - x, x - box[2], 0.0)
    along = max(box[1] - y, y - box[3], 0.0)
    return float(across * across + along * along)


@compiled
def _neighbour(targets: Ragged, ring: int, corner: int, step: int) -> int:
    """Give where the edge before (step -1) or after (step 1) another starts; an edge has a length."""
    first, last = targets.rings[ring], targets.rings[ring + 1] - 2
    while True:
        corner += step
        if corner < first:
            corner = last
        elif corner > last:
            corner = first
        _, _, wall_x, wall_y = _wall(targets, corner)
        if wall_x != 0 or wall_y != 0:
            return corner


@compiled
def _wall(outlines: Ragged, corner: int) -> tuple[float, float, float, float]:
    """Give where the edge that starts at a corner starts, x and y, and how far it goes along x and y."""
    x, y = outlines.corners[corner, 0], outlines.corners[corner, 1]
    return x, y, outlines.corners[corner + 1, 0] - x, outlines.corners[corner + 1, 1] - y


@compiled
def _line_angle(x: float, y: float, other_x: float, other_y: float) -> float:
    """Give the angle between two lines in radians, 0 to a right angle."""
    # the arccosine of their product would lose small angles, and be NaN where it rounds to above 1
    return math.atan2(abs(x * other_y - y * other_x), abs(x * other_x + y * other_y))
