"""Lines fitted once more, to all that lies along the walls they make. Compiled loops.

Runs end at breakpoints, which noise moves; corners are where lines meet. Between these, every sample is
taken to the wall it is nearest to, and the lines are fitted to what is theirs: walls that share the main
direction turn together, others by themselves.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.lines import Lines, corners, worst_wall

_NEAR = 4.0
"""Farthest that a sample of a wall may lie off it, in pixels."""
_HUBER = 2.0
"""From here on, a sample counts the less the farther off it is, in pixels."""
_EVIDENCE = 4.0
"""Weight of samples without which a wall stays where it is."""


class _Sums(NamedTuple):
    """What the samples of each wall add up to, along it from its middle and off its line, weighted."""

    weight: NDArray[np.float64]
    """(r,)."""
    along: NDArray[np.float64]
    """(r,)."""
    off: NDArray[np.float64]
    """(r,)."""
    spread: NDArray[np.float64]
    """(r,) squares of how far along."""
    lean: NDArray[np.float64]
    """(r,) products of how far along and how far off."""


@compiled
def settled(samples: NDArray[np.float64], lines: Lines, shortest: float, turns: bool) -> tuple[Lines, float]:
    """Fit the walls of a ring to all samples along them.

    Args:
        samples: (n, 2) of the ring.
        lines: Of walls that meet.
        shortest: Length of a wall below which nothing is changed, in the unit of the samples.
        turns: Whether the main direction may change.

    Returns:
        As many walls, and by how much the main direction turned, radians.
    """
    met = corners(lines)
    sums = _sums(samples, lines, met)
    turn = _common_turn(sums, lines.free) if turns else 0.0
    count = len(lines.angle)
    angle, offset = lines.angle.copy(), lines.offset.copy()
    for wall in range(count):
        after = (wall + 1) % count
        cos, sin = math.cos(lines.angle[wall]), math.sin(lines.angle[wall])
        along, off, own = 0.0, 0.0, 0.0
        if sums.weight[wall] >= _EVIDENCE:
            along, off = sums.along[wall] / sums.weight[wall], sums.off[wall] / sums.weight[wall]
            own = _lean(sums, wall) / _spread(sums, wall)
        x = (met[wall, 0] + met[after, 0]) / 2 + cos * along - sin * off
        y = (met[wall, 1] + met[after, 1]) / 2 + sin * along + cos * off
        angle[wall] += own if lines.free[wall] else turn
        offset[wall] = math.cos(angle[wall]) * y - math.sin(angle[wall]) * x
    found = Lines(angle, offset, lines.weight, lines.free)
    if worst_wall(found, shortest) >= 0:
        return lines, 0.0
    return found, turn


@compiled
def _sums(samples: NDArray[np.float64], lines: Lines, met: NDArray[np.float64]) -> _Sums:
    """Take every sample to the wall that it is nearest to, of those that it lies beside."""
    count = len(lines.angle)
    cos, sin, middle, half = np.cos(lines.angle), np.sin(lines.angle), np.empty(count), np.empty(count)
    for wall in range(count):
        after = (wall + 1) % count
        begin = cos[wall] * met[wall, 0] + sin[wall] * met[wall, 1]
        end = cos[wall] * met[after, 0] + sin[wall] * met[after, 1]
        middle[wall], half[wall] = (begin + end) / 2, (end - begin) / 2
    sums = _Sums(np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count))
    for number in range(len(samples)):
        x, y = samples[number, 0], samples[number, 1]
        own, off, along = -1, _NEAR, 0.0
        for wall in range(count):
            away = cos[wall] * y - sin[wall] * x - lines.offset[wall]
            if abs(away) < abs(off):
                place = cos[wall] * x + sin[wall] * y - middle[wall]
                if abs(place) <= half[wall]:
                    own, off, along = wall, away, place
        if own >= 0:
            weight = 1.0 / max(1.0, abs(off) / _HUBER)
            sums.weight[own] += weight
            sums.along[own] += weight * along
            sums.off[own] += weight * off
            sums.spread[own] += weight * along * along
            sums.lean[own] += weight * along * off
    return sums


@compiled
def _common_turn(sums: _Sums, free: NDArray[np.bool_]) -> float:
    """Give the turn that suits the walls that share a direction best, by least squares."""
    lean, spread = 0.0, 0.0
    for wall in range(len(free)):
        if not free[wall] and sums.weight[wall] >= _EVIDENCE:
            lean += _lean(sums, wall)
            spread += _spread(sums, wall)
    return lean / spread if spread > 0 else 0.0


@compiled
def _lean(sums: _Sums, wall: int) -> float:
    """Sum the products of how far along and how far off samples are, from their means."""
    return float(sums.lean[wall] - sums.along[wall] * sums.off[wall] / sums.weight[wall])


@compiled
def _spread(sums: _Sums, wall: int) -> float:
    """Sum the squares of how far along samples are, from their mean."""
    return float(sums.spread[wall] - sums.along[wall] ** 2 / sums.weight[wall])
