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
    free: NDArray[np.bool_]
    """(r,) whether the angle is the wall's own."""


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
    return Lines(angle, offset, weight, runs.kind == FREE)


@compiled
def standing(lines: Lines, shortest: float) -> Lines:
    """Leave out the walls that would turn back or be too short, until all others meet.

    Args:
        lines: Of the ring.
        shortest: Length of a wall, in the unit of the lines.

    Returns:
        Three walls or more, or none.
    """
    left = Lines(lines.angle.copy(), lines.offset.copy(), lines.weight.copy(), lines.free.copy())
    count = _merge_parallel(left, len(left.angle))
    while count >= 3:
        kept = Lines(left.angle[:count], left.offset[:count], left.weight[:count], left.free[:count])
        worst = worst_wall(kept, shortest)
        if worst < 0:
            return kept
        _leave_out(left, worst, count)
        count = _merge_parallel(left, count - 1)
    return Lines(left.angle[:0], left.offset[:0], left.weight[:0], left.free[:0])


@compiled
def corners(lines: Lines) -> NDArray[np.float64]:
    """Give the corner at the start of each wall, (r, 2); NaN where it is parallel to the one before."""
    angle, offset, count = lines.angle, lines.offset, len(lines.angle)
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
def worst_wall(lines: Lines, shortest: float) -> int:
    """Find the wall to leave out: the lighter of two that do not meet, or else the shortest; -1 for none."""
    met, count = corners(lines), len(lines.angle)
    worst, length = -1, shortest
    for wall in range(count):
        if np.isnan(met[wall, 0]):
            before = (wall - 1) % count
            return before if lines.weight[before] < lines.weight[wall] else wall
        after = (wall + 1) % count
        along = (met[after, 0] - met[wall, 0]) * math.cos(lines.angle[wall])
        along += (met[after, 1] - met[wall, 1]) * math.sin(lines.angle[wall])
        if along < length:
            worst, length = wall, along
    return worst


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
def _merge_parallel(lines: Lines, count: int) -> int:
    """Make one wall of neighbours in one direction, in place; give how many walls are left."""
    wall = 0
    while wall < count and count >= 3:
        after = (wall + 1) % count
        if math.cos(lines.angle[wall] - lines.angle[after]) < 1 - _SAME:
            wall += 1
            continue
        one, other = lines.weight[wall], lines.weight[after]
        lines.offset[wall] = (lines.offset[wall] * one + lines.offset[after] * other) / (one + other)
        lines.weight[wall] = one + other
        lines.free[wall] = lines.free[wall] and lines.free[after]
        _leave_out(lines, after, count)
        count -= 1
    return count


@compiled
def _leave_out(lines: Lines, wall: int, count: int) -> None:
    """Move the walls after one to its place."""
    for later in range(wall, count - 1):
        lines.angle[later], lines.offset[later] = lines.angle[later + 1], lines.offset[later + 1]
        lines.weight[later], lines.free[later] = lines.weight[later + 1], lines.free[later + 1]
