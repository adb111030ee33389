"""Mean and scatter of any stretch of samples at once, from running sums: compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled


class Scatter(NamedTuple):
    """How the samples of a stretch lie."""

    samples: int
    """How many."""
    x: float
    """Mean."""
    y: float
    """Mean."""
    xx: float
    """Sum of the squares of what x is off its mean."""
    xy: float
    """Sum of the products of what both are off."""
    yy: float
    """Sum of the squares of what y is off its mean."""


@compiled
def running_sums(samples: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Sum x, y, xx, xy and yy along a ring and once more, so that a stretch may pass its end.

    Args:
        samples: (n, 2).
        first: Sample whose place the sums count from.

    Returns:
        (2 n + 1, 5), what lies before each sample.
    """
    count = len(samples)
    sums = np.zeros((2 * count + 1, 5))
    for number in range(2 * count):
        x = samples[number % count, 0] - samples[first % count, 0]
        y = samples[number % count, 1] - samples[first % count, 1]
        sums[number + 1, 0] = sums[number, 0] + x
        sums[number + 1, 1] = sums[number, 1] + y
        sums[number + 1, 2] = sums[number, 2] + x * x
        sums[number + 1, 3] = sums[number, 3] + x * y
        sums[number + 1, 4] = sums[number, 4] + y * y
    return sums


@compiled
def scatter(sums: NDArray[np.float64], start: int, stop: int) -> Scatter:
    """Give the scatter of samples from `start` to before `stop`, at least one."""
    count = stop - start
    x, y = (sums[stop, 0] - sums[start, 0]) / count, (sums[stop, 1] - sums[start, 1]) / count
    xx = sums[stop, 2] - sums[start, 2] - count * x * x
    xy = sums[stop, 3] - sums[start, 3] - count * x * y
    yy = sums[stop, 4] - sums[start, 4] - count * y * y
    return Scatter(count, x, y, max(xx, 0.0), xy, max(yy, 0.0))


@compiled
def least_residual(stretch: Scatter) -> float:
    """Sum the squares of the distances to the line that fits best."""
    spread = math.sqrt((stretch.xx - stretch.yy) ** 2 + 4 * stretch.xy**2)
    return max((stretch.xx + stretch.yy - spread) / 2, 0.0)


@compiled
def best_angle(stretch: Scatter) -> float:
    """Give the direction of the line that fits best, in radians from -pi/2 to pi/2."""
    return 0.5 * math.atan2(2 * stretch.xy, stretch.xx - stretch.yy)


@compiled
def trimmed(sums: NDArray[np.float64], start: int, stop: int) -> Scatter:
    """Give the scatter of the samples from `start` to `stop`, both included, without rounded corners."""
    cut = min(2, (stop - start) // 5)
    return scatter(sums, start + cut, stop + 1 - cut)
