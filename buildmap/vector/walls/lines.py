"""Straight lines in place of walls: as few as a wall needs, facing as the building does. Compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.moments import best_angle, running_sums, trimmed
from buildmap.vector.fitting.sampling import sample_ring

_BEND_PX = 3.0
"""How far a wall that is one line may wander off."""
_SCATTER_PX = 1.8
"""Expected error of a sample across the wall; neighbours share most of it."""
_TURN_MIN, _TURN_MAX = math.radians(6.0), math.radians(25.0)
_ALIKE = math.radians(10.0)
_STEP_PX = 2.0
_ROUNDS = 3


class Lines(NamedTuple):
    """Straight pieces of walls, in the order of the walls."""

    offsets: NDArray[np.int64]
    """(w + 1,) where the pieces of each wall start."""
    points: NDArray[np.float64]
    """(s, 2) on the line, amid its samples."""
    angles: NDArray[np.float64]
    """(s,) radians from the x axis towards y, modulo a half turn."""
    samples: NDArray[np.int64]
    """(s,) how many it is fitted to."""
    starts: NDArray[np.float64]
    """(s, 2) where the piece starts on the wall as it was."""


@compiled
def draw_lines(points: NDArray[np.float64], offsets: NDArray[np.int64], facing: NDArray[np.float64]) -> Lines:
    """Fit lines to walls.

    A wall is cut where it bends (Douglas and Peucker). Each piece gets a line through its samples,
    about one a pixel, turned to the nearest direction its building faces if it is as good as that
    for a piece of its length. Pieces that turn out to be one line become one.

    Args:
        points: (p, 2) pixels, along each wall.
        offsets: (w + 1,) where each wall starts.
        facing: (w, f) radians, directions of the building near each wall, modulo a right angle; NaN for
            one that is not known.
    """
    piece_offsets = np.zeros(len(offsets), np.int64)
    middles, starts = [(0.0, 0.0) for _ in range(0)], [(0.0, 0.0) for _ in range(0)]
    angles, counts = [0.0 for _ in range(0)], [0 for _ in range(0)]
    for wall in range(len(offsets) - 1):
        samples = sample_ring(points[offsets[wall] : offsets[wall + 1]])
        sums = running_sums(samples, 0)
        bends = _straightened(samples, sums, _bends(samples), facing[wall])
        for piece in range(len(bends) - 1):
            begin, end = bends[piece], bends[piece + 1]
            x, y, angle = _fit(samples, sums, begin, end, facing[wall])
            middles.append((x, y))
            angles.append(angle)
            counts.append(end - begin + 1)
            starts.append((samples[begin, 0], samples[begin, 1]))
        piece_offsets[wall + 1] = len(counts)
    return Lines(piece_offsets, pairs(middles), np.array(angles), np.array(counts), pairs(starts))


@compiled
def pairs(places: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Give places, x and y each, as an array, (n, 2)."""
    array = np.empty((len(places), 2))
    for number in range(len(places)):
        array[number, 0], array[number, 1] = places[number]
    return array


@compiled
def _bends(samples: NDArray[np.float64]) -> list[int]:
    """Give the samples where a wall bends, its first and its last among them."""
    kept = np.zeros(len(samples), np.bool_)
    kept[0] = kept[-1] = True
    open_from, open_to = [0], [len(samples) - 1]
    while len(open_from) > 0:
        start, stop = open_from.pop(), open_to.pop()
        place, distance = _farthest(samples, start, stop)
        if distance > _BEND_PX:
            kept[place] = True
            open_from.append(start)
            open_to.append(place)
            open_from.append(place)
            open_to.append(stop)
    return [number for number in range(len(samples)) if kept[number]] if len(samples) > 1 else [0, 0]


@compiled
def _farthest(samples: NDArray[np.float64], start: int, stop: int) -> tuple[int, float]:
    """Find the sample between two others that is farthest from the line between these."""
    along_x, along_y = samples[stop, 0] - samples[start, 0], samples[stop, 1] - samples[start, 1]
    square = along_x * along_x + along_y * along_y
    place, worst = start, -1.0
    for number in range(start + 1, stop):
        x, y = samples[number, 0] - samples[start, 0], samples[number, 1] - samples[start, 1]
        share = min(max((x * along_x + y * along_y) / square, 0.0), 1.0) if square > 0 else 0.0
        distance = math.hypot(x - share * along_x, y - share * along_y)
        if distance > worst:
            place, worst = number, distance
    return place, worst


@compiled
def _straightened(
    samples: NDArray[np.float64], sums: NDArray[np.float64], bends: list[int], facing: NDArray[np.float64]
) -> list[int]:
    """Leave out the bends between pieces that are one line."""
    place = 1
    while place < len(bends) - 1:
        x, y, angle = _fit(samples, sums, bends[place - 1], bends[place], facing)
        next_x, next_y, next_angle = _fit(samples, sums, bends[place], bends[place + 1], facing)
        away = abs(off_line(next_x, next_y, x, y, angle))
        if abs(math.sin(next_angle - angle)) < math.sin(_ALIKE) and away < _STEP_PX:
            del bends[place]
            place = max(place - 1, 1)
        else:
            place += 1
    return bends


@compiled
def off_line(x: float, y: float, on_x: float, on_y: float, angle: float) -> float:
    """Give the signed distance of a point from the line through another."""
    return math.cos(angle) * (y - on_y) - math.sin(angle) * (x - on_x)


@compiled
def _fit(
    samples: NDArray[np.float64], sums: NDArray[np.float64], begin: int, end: int, facing: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Fit a line to the samples from one to another, both included: a point on it, and its angle."""
    stretch = trimmed(sums, begin, end)
    x, y = stretch.x + samples[0, 0], stretch.y + samples[0, 1]
    angle = _faced(best_angle(stretch), end - begin + 1, facing)
    off = 0.0
    for _ in range(_ROUNDS):  # Huber's weights: what stands more than a pixel off pulls no harder
        total, weights = 0.0, 0.0
        for number in range(begin, end + 1):
            here = off_line(samples[number, 0], samples[number, 1], x, y, angle)
            weight = 1.0 / max(abs(here - off), 1.0)
            total += weight * here
            weights += weight
        off = total / weights
    return x - off * math.sin(angle), y + off * math.cos(angle), angle


@compiled
def _faced(angle: float, count: int, facing: NDArray[np.float64]) -> float:
    """Turn a line to the nearest direction of its building, unless its samples speak against it."""
    error = math.sqrt(12.0) * _SCATTER_PX / max(count, 1) ** 1.5
    limit = min(max(3.0 * error, _TURN_MIN), _TURN_MAX)
    turn = math.inf
    for direction in facing:
        here = direction - angle
        here -= 0.5 * math.pi * math.floor(here / (0.5 * math.pi) + 0.5)
        if abs(here) < abs(turn):  # never, where the direction is not known
            turn = here
    return angle + turn if abs(turn) <= limit else angle
