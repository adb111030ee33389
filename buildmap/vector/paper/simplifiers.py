"""Three ways to drop corners of a ring: Douglas-Peucker, Visvalingam-Whyatt, curvature-adaptive sampling.

The first two give each corner a weight, from which the corners kept at any tolerance follow; the third
draws a smooth outline from few points, dense where it bends.
"""

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined

_SPACING_MAX_PX = 40.0
_SAMPLES_MIN = 4


@compiled
def deviations(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the tolerance from which on Douglas and Peucker's algorithm drops each corner of a ring.

    The ring is cut in two at the corner farthest from the mean of all, and at the one farthest from it.

    Args:
        corners: (c, 2) not closed.

    Returns:
        (c,) pixels; a tolerance keeps the corners with larger values. Infinite where the ring is cut.
    """
    count = len(corners)
    weight = np.zeros(count)
    one = _farthest(corners, corners[:, 0].mean(), corners[:, 1].mean())
    other = _farthest(corners, corners[one, 0], corners[one, 1])
    weight[one] = weight[other] = np.inf
    first, last = np.empty(count + 2, np.int64), np.empty(count + 2, np.int64)
    limit = np.empty(count + 2)
    first[0], last[0], limit[0] = min(one, other), max(one, other), np.inf
    first[1], last[1], limit[1] = last[0], first[0] + count, np.inf
    waiting = 2
    while waiting:
        waiting -= 1
        start, end, bound = first[waiting], last[waiting], limit[waiting]
        best, at = -1.0, -1
        for i in range(start + 1, end):
            distance = _to_segment(corners[i % count], corners[start % count], corners[end % count])
            if distance > best:
                best, at = distance, i
        if at < 0:
            continue
        weight[at % count] = bound = min(best, bound)
        first[waiting], last[waiting], limit[waiting] = start, at, bound
        first[waiting + 1], last[waiting + 1], limit[waiting + 1] = at, end, bound
        waiting += 2
    return np.sqrt(weight)


@compiled
def effective_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the effective area of each corner of a ring, by Visvalingam and Whyatt.

    The corner whose triangle with its neighbours is smallest goes first; of equal ones, the earlier.

    Args:
        corners: (c, 2) not closed.

    Returns:
        (c,) square pixels; infinite for the three corners that are left.
    """
    count = len(corners)
    area = np.full(count, np.inf)
    if count <= 3:
        return area
    before, after = np.arange(-1, count - 1), np.arange(1, count + 1)
    before[0], after[count - 1] = count - 1, 0
    current = np.empty(count)
    for i in range(count):
        current[i] = _triangle(corners, before[i], i, after[i])
    heap = [(current[i], i) for i in range(count)]
    heapify(heap)
    left, reached = count, 0.0
    while left > 3:
        size, i = heappop(heap)
        if area[i] < np.inf or size != current[i]:
            continue
        reached = max(reached, size)
        area[i] = reached
        left -= 1
        one, other = before[i], after[i]
        after[one], before[other] = other, one
        for j in (one, other):
            current[j] = _triangle(corners, before[j], j, after[j])
            heappush(heap, (current[j], j))
    return area


@compiled
def sample_by_curvature(
    points: NDArray[np.float64], curvature: NDArray[np.float64], tolerance: float
) -> NDArray[np.int64]:
    """Choose points of a smooth ring, the denser the more it bends.

    An arc of curvature k deviates from a chord of length s by s * s * k / 8, so a tolerance allows the
    spacing sqrt(8 tolerance / k), at most 40 pixels. HR-Mamba gives no rule; the first sample lies
    where the ring bends most.

    Args:
        points: (p, 2).
        curvature: (p,) radians per pixel.
        tolerance: Pixels.

    Returns:
        (m,) rising numbers of points.
    """
    count = len(points)
    start = int(np.argmax(curvature))
    reached = np.empty(count + 1)
    reached[0] = 0.0
    for step in range(count):
        i, j = (start + step) % count, (start + step + 1) % count
        length = np.sqrt((points[j, 0] - points[i, 0]) ** 2 + (points[j, 1] - points[i, 1]) ** 2)
        bend = (curvature[i] + curvature[j]) / 2.0
        reached[step + 1] = reached[step] + length * (np.sqrt(bend / (8.0 * tolerance)) + 1 / _SPACING_MAX_PX)
    samples = max(_SAMPLES_MIN, int(np.ceil(reached[count])))
    chosen = np.zeros(count, np.bool_)
    step = 0
    for sample in range(samples):
        while reached[step] < reached[count] * sample / samples:
            step += 1
        chosen[(start + min(step, count - 1)) % count] = True
    return np.flatnonzero(chosen)


@inlined
def _farthest(corners: NDArray[np.float64], x: float, y: float) -> int:
    return int(np.argmax((corners[:, 0] - x) ** 2 + (corners[:, 1] - y) ** 2))


@compiled
def _to_segment(corner: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> float:
    """Give the squared distance of a corner from a line between two others."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    x, y = corner[0] - start[0], corner[1] - start[1]
    square = along_x * along_x + along_y * along_y
    share = min(1.0, max(0.0, (x * along_x + y * along_y) / square)) if square > 0 else 0.0
    return float((x - share * along_x) ** 2 + (y - share * along_y) ** 2)


@compiled
def _triangle(corners: NDArray[np.float64], before: int, at: int, after: int) -> float:
    ax, ay = corners[at, 0] - corners[before, 0], corners[at, 1] - corners[before, 1]
    bx, by = corners[after, 0] - corners[at, 0], corners[after, 1] - corners[at, 1]
    return float(abs(ax * by - ay * bx) / 2.0)
