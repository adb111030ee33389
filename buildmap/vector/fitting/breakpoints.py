"""Where a ring may turn: the samples that Douglas and Peucker keep. Compiled loops."""

import math

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled


@compiled
def breakpoints(samples: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    """Give the samples of a closed ring without which the others lie farther off than a tolerance.

    The first is the sample farthest from the mean of all, which of a building is nearly always a corner.

    Args:
        samples: (n, 2), the first not repeated.
        tolerance: In the unit of the samples.

    Returns:
        (k + 1,) numbers of samples, ascending from the first; those past the end of the ring go on
        counting, and the last is the first again, n later.
    """
    count = len(samples)
    first = _farthest(samples, samples[:, 0].mean(), samples[:, 1].mean())
    opposite = _farthest(samples, samples[first, 0], samples[first, 1])
    kept = np.zeros(count + 1, np.bool_)  # counted from the first
    turn = (opposite - first) % count
    kept[0] = kept[turn] = kept[count] = True
    open_from, open_to = [0, turn], [turn, count]
    while len(open_from) > 0:
        start, stop = open_from.pop(), open_to.pop()
        place, distance = _worst(samples, first, start, stop)
        if distance > tolerance:
            kept[place] = True
            open_from.append(start)
            open_to.append(place)
            open_from.append(place)
            open_to.append(stop)
    return np.flatnonzero(kept) + first


@compiled
def begun_at(breaks: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """Count the breakpoints of a ring of `count` samples from another one of them, `start`."""
    begun, first = np.empty_like(breaks), start % count
    for number in range(len(breaks) - 1):
        begun[number] = (breaks[number] - first) % count + first
    begun[-1] = first + count
    return np.sort(begun)


@compiled
def _farthest(samples: NDArray[np.float64], x: float, y: float) -> int:
    best, square = 0, -1.0
    for number in range(len(samples)):
        here = (samples[number, 0] - x) ** 2 + (samples[number, 1] - y) ** 2
        if here > square:
            best, square = number, here
    return best


@compiled
def _worst(samples: NDArray[np.float64], first: int, start: int, stop: int) -> tuple[int, float]:
    """Find the sample between two others that is farthest from the line through these."""
    count = len(samples)
    p, q = (first + start) % count, (first + stop) % count
    x, y = samples[p, 0], samples[p, 1]
    along_x, along_y = samples[q, 0] - x, samples[q, 1] - y
    length = math.hypot(along_x, along_y)
    place, worst = start, -1.0
    for step in range(start + 1, stop):
        number = (first + step) % count
        away_x, away_y = samples[number, 0] - x, samples[number, 1] - y
        if length > 0:
            distance = abs(along_x * away_y - along_y * away_x) / length
        else:
            distance = math.hypot(away_x, away_y)
        if distance > worst:
            place, worst = step, distance
    return place, worst
