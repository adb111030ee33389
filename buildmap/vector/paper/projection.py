"""Edges turned to their nearest principal direction, and joined again (HR-Mamba, section 2.6, third step).

The paper turns each edge and says neither where the turned edge lies nor how the edges meet. Here an edge
becomes the line along its direction through the middle of the contour points that it stands for.
Neighbours on one line, to the tolerance, become one; parallel ones are joined by a step at right angles;
all others meet where their lines cross. An edge that would come out reversed is dropped.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.paper.choice import Simplified
from buildmap.vector.paper.directions import Directions
from buildmap.vector.paper.points import GRID, Contours

_TRIMMED_PX = 2
"""Points left out at either end of an edge that is long enough: corners of a mask are round."""


class _Lines(NamedTuple):
    """Turned edges of a ring, in their order."""

    heading: NDArray[np.float64]
    """(m, 2) unit vectors."""
    offset: NDArray[np.float64]
    """(m,) along the left normal of the heading."""
    weight: NDArray[np.float64]
    """(m,) points."""
    joint: NDArray[np.float64]
    """(m, 2) the corner of the simplified ring at the start of each."""


def project_edges(
    outlines: Contours, simplified: Simplified, directions: Directions, tolerance_px: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Turn the edges of all rings to the nearest directions of their polygons.

    Args:
        outlines: n polygons.
        simplified: Their simplified rings.
        directions: Of their exteriors; rings of a polygon without directions stay as they are.
        tolerance_px: (n,) within which parallel neighbours become one.

    Returns:
        (c, 2) corners of rings, not closed, and (r + 1,) where each ring starts; collapsed ones are empty.
    """
    return _project(outlines, simplified, directions.angle, directions.polygons, tolerance_px)


@compiled
def project_ring(
    corners: NDArray[np.float64],
    starts: NDArray[np.int64],
    points: NDArray[np.float64],
    angle: NDArray[np.float64],
    tolerance: float,
) -> NDArray[np.float64]:
    """Turn the edges of one ring.

    Args:
        corners: (m, 2) of the simplified ring.
        starts: (m,) the first of `points` that the edge after each corner stands for.
        points: (p, 2) of the contour.
        angle: (a,) radians, one at least.
        tolerance: Pixels.

    Returns:
        (c, 2) corners on the grid of 1/1024 pixel; none where fewer than three edges are left.
    """
    lines = _turned(corners, starts, points, angle)
    while True:
        lines = _merged(lines, tolerance)
        if len(lines.offset) < 3:
            return np.empty((0, 2))
        ends = _joined(lines)
        kept = _running_on(lines, ends)
        if len(kept) == len(ends):
            return _corners(ends)
        lines = _chosen(lines, kept)


@compiled
def nearest_direction(along: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the unit vector along the direction nearest to an edge, in the sense of the edge.

    Args:
        along: (2,) the edge.
        angle: (a,) radians; of equally near ones the first counts.
    """
    best, heading = -1.0, np.zeros(2)
    for one in angle:
        cos, sin = np.cos(one), np.sin(one)
        share = along[0] * cos + along[1] * sin
        if abs(share) > best:
            best = abs(share)
            sense = 1.0 if share >= 0 else -1.0
            heading[0], heading[1] = sense * cos, sense * sin
    return heading


@compiled
def _turned(
    corners: NDArray[np.float64],
    starts: NDArray[np.int64],
    points: NDArray[np.float64],
    angle: NDArray[np.float64],
) -> _Lines:
    count = len(corners)
    heading, offset, weight = np.empty((count, 2)), np.empty(count), np.empty(count)
    for edge in range(count):
        following = (edge + 1) % count
        heading[edge] = nearest_direction(corners[following] - corners[edge], angle)
        covered = (starts[following] - starts[edge]) % len(points)
        trim = _TRIMMED_PX if covered >= 4 * _TRIMMED_PX else 0
        x, y = 0.0, 0.0
        for step in range(trim, covered - trim):
            point = points[(starts[edge] + step) % len(points)]
            x += point[0]
            y += point[1]
        weight[edge] = covered - 2 * trim
        offset[edge] = (heading[edge, 0] * y - heading[edge, 1] * x) / weight[edge]
    return _Lines(heading, offset, weight, corners.copy())


@inlined
def _parallel(lines: _Lines, one: int, other: int) -> bool:
    """Tell whether two lines have the same heading."""
    return bool((lines.heading[one] * lines.heading[other]).sum() > 1 - 1e-9)


@compiled
def _merged(lines: _Lines, tolerance: float) -> _Lines:
    """Make neighbours on one line, to the tolerance, one."""
    count = len(lines.offset)
    first = 0
    while first < count and _is_one(lines, first - 1, first, tolerance):
        first += 1
    if first == count:
        return _chosen(lines, np.zeros(1, np.int64))
    heading, offset = lines.heading.copy(), lines.offset.copy()
    weight, joint = lines.weight.copy(), lines.joint.copy()
    kept = -1
    for step in range(count):
        i = (first + step) % count
        same = kept >= 0 and (heading[kept] * lines.heading[i]).sum() > 1 - 1e-9
        if same and abs(offset[kept] - lines.offset[i]) <= tolerance:
            total = weight[kept] + lines.weight[i]
            offset[kept] += (lines.offset[i] - offset[kept]) * lines.weight[i] / total
            weight[kept] = total
        else:
            kept += 1
            heading[kept], offset[kept] = lines.heading[i], lines.offset[i]
            weight[kept], joint[kept] = lines.weight[i], lines.joint[i]
    return _Lines(heading[: kept + 1], offset[: kept + 1], weight[: kept + 1], joint[: kept + 1])


@inlined
def _is_one(lines: _Lines, one: int, other: int, tolerance: float) -> bool:
    return _parallel(lines, one, other) and abs(lines.offset[one] - lines.offset[other]) <= tolerance


@compiled
def _chosen(lines: _Lines, chosen: NDArray[np.int64]) -> _Lines:
    return _Lines(lines.heading[chosen], lines.offset[chosen], lines.weight[chosen], lines.joint[chosen])


@compiled
def _running_on(lines: _Lines, ends: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choose all lines but those that run backwards; of neighbours that both do, the heavier may stay."""
    count = len(ends)
    back = np.empty(count, np.bool_)
    for i in range(count):
        x, y = ends[i, 2] - ends[i, 0], ends[i, 3] - ends[i, 1]
        back[i] = x * lines.heading[i, 0] + y * lines.heading[i, 1] <= 0
    kept = np.ones(count, np.bool_)
    for i in range(count):
        before, after = i - 1 if i else count - 1, (i + 1) % count
        lighter_before = back[before] and lines.weight[before] <= lines.weight[i]
        lighter_after = back[after] and lines.weight[after] < lines.weight[i]
        kept[i] = not back[i] or lighter_before or lighter_after
    if back.all() and kept.all():
        kept[0] = False  # all alike, each waits for the one before
    return np.flatnonzero(kept)


@compiled
def _joined(lines: _Lines) -> NDArray[np.float64]:
    """Join neighbours; give where each line starts and ends, (m, 4)."""
    count = len(lines.offset)
    ends = np.empty((count, 4))
    for i in range(count):
        before = i - 1 if i else count - 1
        (ux, uy), (vx, vy) = lines.heading[before], lines.heading[i]
        c, d = lines.offset[before], lines.offset[i]
        cross = ux * vy - uy * vx
        if abs(cross) > 1e-9:
            x, y = (c * vx - d * ux) / cross, (c * vy - d * uy) / cross
            ends[before, 2], ends[before, 3] = x, y
            ends[i, 0], ends[i, 1] = x, y
        else:
            along = lines.joint[i, 0] * ux + lines.joint[i, 1] * uy
            ends[before, 2], ends[before, 3] = along * ux - c * uy, along * uy + c * ux
            along = lines.joint[i, 0] * vx + lines.joint[i, 1] * vy
            ends[i, 0], ends[i, 1] = along * vx - d * vy, along * vy + d * vx
    return ends


@compiled
def _corners(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Write the ends of lines as corners on the grid, each once."""
    rounded = np.round(ends * GRID) / GRID
    corners = np.empty((2 * len(ends), 2))
    count = 0
    for i in range(len(ends)):
        for side in range(2):
            x, y = rounded[i, 2 * side], rounded[i, 2 * side + 1]
            if count == 0 or x != corners[count - 1, 0] or y != corners[count - 1, 1]:
                corners[count, 0], corners[count, 1] = x, y
                count += 1
    while count > 1 and corners[count - 1, 0] == corners[0, 0] and corners[count - 1, 1] == corners[0, 1]:
        count -= 1
    return corners[: count if count >= 3 else 0]


@compiled
def _project(
    outlines: Contours,
    simplified: Simplified,
    angle: NDArray[np.float64],
    starts: NDArray[np.int64],
    tolerance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rings = np.zeros(len(simplified.rings), np.int64)
    corners = np.empty((2 * len(simplified.corners), 2))
    for polygon in range(len(tolerance)):
        own = angle[starts[polygon] : starts[polygon + 1]]
        for ring in range(outlines.polygons[polygon], outlines.polygons[polygon + 1]):
            one, other = simplified.rings[ring], simplified.rings[ring + 1]
            points = outlines.points[outlines.point_rings[ring] : outlines.point_rings[ring + 1]]
            made = simplified.corners[one:other]
            if len(own) and len(made):
                made = project_ring(made, simplified.starts[one:other], points, own, tolerance[polygon])
            rings[ring + 1] = rings[ring] + len(made)
            corners[rings[ring] : rings[ring + 1]] = made
    return corners[: rings[-1]].copy(), rings
