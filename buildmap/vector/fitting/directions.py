"""The direction that the walls along a ring share, or stand at right angles to: compiled loops.

Angles are in radians. Every straight stretch of a ring speaks, and the longer it is the louder: an angle
is known to the power -3/2 of the length.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.moments import best_angle, least_residual, trimmed

RIGHT_ANGLE = math.pi / 2
_PASSES = 4
_WIDE, _NARROW = math.radians(8.0), math.radians(4.0)
_LONG = 6


class Facing(NamedTuple):
    """What the straight stretches of a ring have in common."""

    direction: float
    """Radians, -pi/4 to pi/4."""
    noise: float
    """Mean square of the distances of the samples from the lines of their stretches."""


@compiled
def off_right_angle(angle: float) -> float:
    """Give what an angle is off the nearest multiple of a right angle, from -pi/4 to pi/4."""
    return angle - RIGHT_ANGLE * math.floor(angle / RIGHT_ANGLE + 0.5)


@compiled
def facing(sums: NDArray[np.float64], breaks: NDArray[np.int64]) -> Facing:
    """Find the main direction of a ring from the stretches between its breakpoints.

    A first guess is the mean of four times the angle of each; then stretches that stand askew lose their
    weight.

    Args:
        sums: Running sums of its samples.
        breaks: (k + 1,) where stretches begin; the last is the first, one ring later.
    """
    count = len(breaks) - 1
    angle, weight = np.empty(count), np.empty(count)
    rest, samples, cos, sin = 0.0, 0, 0.0, 0.0
    for number in range(count):
        stretch = trimmed(sums, breaks[number], breaks[number + 1])
        angle[number] = best_angle(stretch)
        weight[number] = float(breaks[number + 1] - breaks[number]) ** 2.5
        cos += weight[number] * math.cos(4 * angle[number])
        sin += weight[number] * math.sin(4 * angle[number])
        if stretch.samples >= _LONG:
            rest += least_residual(stretch)
            samples += stretch.samples
    direction = math.atan2(sin, cos) / 4
    for step in range(_PASSES):
        width = _WIDE if step < _PASSES // 2 else _NARROW
        shift, total = 0.0, 0.0
        for number in range(count):
            off = off_right_angle(angle[number] - direction)
            share = weight[number] * math.exp(-((off / width) ** 2))
            shift += share * off
            total += share
        if total > 0:
            direction += shift / total
    return Facing(off_right_angle(direction), rest / max(samples, 1))
