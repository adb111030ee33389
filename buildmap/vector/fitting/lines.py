"""Corners of a ring: where the fitted lines of its walls meet. Compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.moments import best_angle, scatter
from buildmap.vector.fitting.partition import FREE, Runs, kind_angle

_ROBUST_PASSES = 3
_PARALLEL = 0.1
_SAME = 1e-3


class Lines(NamedTuple):
    """Walls of a ring, in its order."""

    angle: NDArray[np.float64]
    """(r,) radians, along the ring."""
    offset: NDArray[np.float64]
    """(r,) distance from the origin to the left of the direction."""
    weight: NDArray[np.float64]
    """(r,) samples the line rests on."""


@compiled
def refined_direction(sums: NDArray[np.float64], runs: Runs) -> float:
    """Give the direction, off that of x, that suits all runs along it, across it and at 45 degrees best.

    Turned into one direction, the scatters of the runs add up to one whose best line it is.

    Args:
        sums: Running sums of the samples.
        runs: Of the ring.

    Returns:
        Radians; 0 where all runs are free.
    """
    xx, xy, yy = 0.0, 0.0, 0.0
    for run in range(len(runs.kind)):
        if runs.kind[run] == FREE:
            continue
        cut = _cut(runs, run)
        stretch = scatter(sums, runs.start[run] + cut, runs.stop[run] + 1 - cut)
        cos, sin = math.cos(kind_angle(runs.kind[run])), math.sin(kind_angle(runs.kind[run]))
        xx += cos * cos * stretch.xx + 2 * cos * sin * stretch.xy + sin * sin * stretch.yy
        yy += sin * sin * stretch.xx - 2 * cos * sin * stretch.xy + cos * cos * stretch.yy
        xy += cos * sin * (stretch.yy - stretch.xx) + (cos * cos - sin * sin) * stretch.xy
    if xx <= yy:
        return 0.0
    return 0.5 * math.atan2(2 * xy, xx - yy)


@compiled
def fit_lines(samples: NDArray[np.float64], sums: NDArray[np.float64], runs: Runs, direction: float) -> Lines:
    """Fit a line to each run; its distance from the origin by Huber's mean, which outliers move little.

    Args:
        samples: (n, 2).
        sums: Their running sums.
        runs: Of the ring.
        direction: The main one, radians.
    """
    count = len(runs.kind)
    angle, offset, weight = np.empty(count), np.empty(count), np.empty(count)
    for run in range(count):
        cut = _cut(runs, run)
        start, stop = runs.start[run] + cut, runs.stop[run] - cut
        if runs.kind[run] == FREE:
            angle[run] = best_angle(scatter(sums, start, stop + 1))
            if math.cos(angle[run] - runs.angle[run]) < 0:
                angle[run] += math.pi
        else:
            angle[run] = kind_angle(runs.kind[run]) + direction
        offset[run] = _huber(samples, start, stop, angle[run])
        weight[run] = stop - start + 1
    return Lines(angle, offset, weight)


@compiled
def corners(lines: Lines, shortest: float) -> NDArray[np.float64]:
    """Meet the lines of neighbours, leaving out the walls that would turn back or be too short.

    Args:
        lines: Of the ring.
        shortest: Length of a wall, in the unit of the lines.

    Returns:
        (c, 2), not closed; fewer than three where no ring is left.
    """
    angle, offset, weight = lines.angle.copy(), lines.offset.copy(), lines.weight.copy()
    count = _merge_parallel(angle, offset, weight, len(angle))
    while count >= 3:
        met = _meet(angle, offset, count)
        worst = _worst_wall(met, angle, weight, shortest, count)
        if worst < 0:
            return met
        for wall in range(worst, count - 1):
            angle[wall], offset[wall], weight[wall] = angle[wall + 1], offset[wall + 1], weight[wall + 1]
        count = _merge_parallel(angle, offset, weight, count - 1)
    return np.empty((0, 2))


@compiled
def _cut(runs: Runs, run: int) -> int:
    """Give the samples at each end that a rounded corner may have moved."""
    return int(min(3, (runs.stop[run] - runs.start[run]) // 5))


@compiled
def _huber(samples: NDArray[np.float64], start: int, stop: int, angle: float) -> float:
    """Average the distance of samples, both ends included, to the left of a direction."""
    count, away_x, away_y = len(samples), -math.sin(angle), math.cos(angle)
    mean = 0.0
    for number in range(start, stop + 1):
        mean += away_x * samples[number % count, 0] + away_y * samples[number % count, 1]
    mean /= stop - start + 1
    for _ in range(_ROBUST_PASSES):
        total, weights = 0.0, 0.0
        for number in range(start, stop + 1):
            away = away_x * samples[number % count, 0] + away_y * samples[number % count, 1]
            weight = 1.0 / max(1.0, abs(away - mean))
            total += weight * away
            weights += weight
        mean = total / weights
    return mean


@compiled
def _merge_parallel(
    angle: NDArray[np.float64], offset: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> int:
    """Make one wall of neighbours in one direction, in place; give how many walls are left."""
    wall = 0
    while wall < count and count >= 3:
        after = (wall + 1) % count
        if math.cos(angle[wall] - angle[after]) < 1 - _SAME:
            wall += 1
            continue
        total = weight[wall] + weight[after]
        offset[wall] = (offset[wall] * weight[wall] + offset[after] * weight[after]) / total
        weight[wall] = total
        for later in range(after, count - 1):
            angle[later], offset[later], weight[later] = (
                angle[later + 1],
                offset[later + 1],
                weight[later + 1],
            )
        count -= 1
    return count


@compiled
def _meet(angle: NDArray[np.float64], offset: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Give the corner at the start of each wall; NaN where it is parallel to the one before."""
    met = np.empty((count, 2))
    for wall in range(count):
        before = (wall - 1) % count
        sin = math.sin(angle[wall] - angle[before])
        if abs(sin) < _PARALLEL:
            met[wall] = np.nan
            continue
        met[wall, 0] = (offset[before] * math.cos(angle[wall]) - offset[wall] * math.cos(angle[before])) / sin
        met[wall, 1] = (offset[before] * math.sin(angle[wall]) - offset[wall] * math.sin(angle[before])) / sin
    return met


@compiled
def _worst_wall(
    met: NDArray[np.float64],
    angle: NDArray[np.float64],
    weight: NDArray[np.float64],
    shortest: float,
    count: int,
) -> int:
    """Find the wall to leave out: the lighter of two that do not meet, or else the shortest; -1 for none."""
    worst, length = -1, shortest
    for wall in range(count):
        if np.isnan(met[wall, 0]):
            before = (wall - 1) % count
            return before if weight[before] < weight[wall] else wall
        after = (wall + 1) % count
        along = (met[after, 0] - met[wall, 0]) * math.cos(angle[wall])
        along += (met[after, 1] - met[wall, 1]) * math.sin(angle[wall])
        if along < length:
            worst, length = wall, along
    return worst
