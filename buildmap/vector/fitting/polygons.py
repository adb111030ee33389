"""Polygons drawn anew from the lines and circles that fit their outlines best: compiled loops."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.breakpoints import begun_at, breakpoints
from buildmap.vector.fitting.circles import draw_circle, fit_circle
from buildmap.vector.fitting.directions import facing
from buildmap.vector.fitting.lines import corners, fit_lines, refined_direction, standing
from buildmap.vector.fitting.moments import running_sums
from buildmap.vector.fitting.partition import DIAGONALS, Prices, Runs, partition
from buildmap.vector.fitting.sampling import count_samples, sample_ring
from buildmap.vector.fitting.settling import settled
from buildmap.vector.ragged import Ragged

FAILED, STRAIGHT, ROUND = 0, 1, 2
"""What a polygon was found to be: nothing known, straight walls, a circle."""
_SAMPLES_MAX = 20_000
_SAMPLES_MIN = 8
_BREAKS_MAX = 250
_COARSE, _FINE = 3.0, 1.3
_NOISE_MIN = 0.25
_CIRCLE_CORNERS = 4
_RADIUS_MIN = 4.0
_ORGANIC_WALLS = 5
_ORGANIC_SHARE = 0.4
_GRID = 65536.0


class Smoothing(NamedTuple):
    """How much detail a fit leaves out."""

    prices: Prices
    """Of runs."""
    shortest: float
    """Pixels; shorter walls are left out."""


class _Fit(NamedTuple):
    ring: NDArray[np.float64]
    """(c, 2) not closed; none where nothing fits."""
    direction: float
    """The main one, radians."""
    kind: int
    """FAILED, STRAIGHT or ROUND."""


@compiled
def fit_polygons(outlines: Ragged, smoothing: Smoothing) -> tuple[Ragged, NDArray[np.int64]]:
    """Fit every ring of every polygon; interiors turn with their exterior.

    Args:
        outlines: n polygons in pixels.
        smoothing: What is left out.

    Returns:
        n polygons, that may be invalid, and (n,) what each was found to be. One that failed has no
        corners; corners are multiples of 1/65536 of a pixel, which whole numbers can be added to exactly.
    """
    count = len(outlines.polygons) - 1
    kinds, polygons = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    rings = [np.empty((0, 2)) for _ in range(0)]
    for number in range(count):
        known = len(rings)
        kinds[number] = _fit_polygon(outlines, number, smoothing, rings)
        if kinds[number] == FAILED:
            while len(rings) > known:
                rings.pop()
        polygons[number + 1] = len(rings)
    starts = np.zeros(len(rings) + 1, np.int64)
    for number in range(len(rings)):
        starts[number + 1] = starts[number] + len(rings[number])
    joined = np.empty((starts[-1], 2))
    for number in range(len(rings)):
        joined[starts[number] : starts[number + 1]] = rings[number]
    return Ragged(joined, starts, polygons), kinds


@compiled
def _fit_polygon(
    outlines: Ragged, number: int, smoothing: Smoothing, rings: list[NDArray[np.float64]]
) -> int:
    """Add the closed rings of one polygon; give what it is."""
    first, stop = outlines.polygons[number], outlines.polygons[number + 1]
    found, direction = FAILED, np.nan
    for ring in range(first, stop):
        outline = outlines.corners[outlines.rings[ring] : outlines.rings[ring + 1]]
        size = count_samples(outline)
        if not _SAMPLES_MIN <= size <= _SAMPLES_MAX:
            return FAILED
        fit = _fit_ring(sample_ring(outline), direction, smoothing)
        if fit.kind == FAILED:
            return FAILED
        if ring == first:
            found = fit.kind
            direction = fit.direction if fit.kind == STRAIGHT else np.nan
        rings.append(_closed(fit.ring))
    return found


@compiled
def _closed(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Repeat the first corner last, and round all."""
    closed = np.empty((len(ring) + 1, 2))
    for corner in range(len(closed)):
        closed[corner, 0] = np.rint(ring[corner % len(ring), 0] * _GRID) / _GRID
        closed[corner, 1] = np.rint(ring[corner % len(ring), 1] * _GRID) / _GRID
    return closed


@compiled
def _fit_ring(samples: NDArray[np.float64], direction: float, smoothing: Smoothing) -> _Fit:
    """Fit walls or a circle to one ring; `direction` is NaN for a ring that finds its own."""
    nothing = np.empty((0, 2))
    coarse = breakpoints(samples, _COARSE)
    seen = facing(running_sums(samples, coarse[0]), coarse)
    noise, main = max(seen.noise, _NOISE_MIN), seen.direction if np.isnan(direction) else direction
    upright = turned(samples, -main)
    breaks = _breaks(upright)
    sums = running_sums(upright, breaks[0])
    runs = partition(sums, breaks, noise, smoothing.prices)
    last = len(runs.kind) - 1
    if last >= 1 and abs(np.sin(runs.angle[0] - runs.angle[last])) < 0.2:
        breaks = begun_at(breaks, runs.start[1 + last // 2], len(samples))
        runs = partition(sums, breaks, noise, smoothing.prices)
    circle = fit_circle(samples)
    price = _CIRCLE_CORNERS * smoothing.prices.corner
    if circle.residual / noise + price < runs.cost and circle.radius > _RADIUS_MIN:
        return _Fit(draw_circle(circle, _turn(samples)), main, ROUND)
    if len(runs.kind) < 3 or _is_organic(runs, len(samples)):
        return _Fit(nothing, main, FAILED)
    shift = refined_direction(sums, runs) if np.isnan(direction) else 0.0
    lines = standing(fit_lines(upright, sums, runs, shift), smoothing.shortest)
    if len(lines.angle) < 3:
        return _Fit(nothing, main, FAILED)
    lines, turn = settled(upright, lines, smoothing.shortest, np.isnan(direction))
    return _Fit(turned(corners(lines), main), main + shift + turn, STRAIGHT)


@compiled
def _is_organic(runs: Runs, count: int) -> bool:
    """Tell whether much of a ring of `count` samples, in many walls, does not follow its main direction."""
    askew, walls = 0, 0
    for run in range(len(runs.kind)):
        if runs.kind[run] >= DIAGONALS:
            askew += runs.stop[run] - runs.start[run]
            walls += 1
    return walls >= _ORGANIC_WALLS and askew > _ORGANIC_SHARE * count


@compiled
def _breaks(samples: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the breakpoints, not too many."""
    tolerance = _FINE
    breaks = breakpoints(samples, tolerance)
    while len(breaks) > _BREAKS_MAX:
        tolerance *= 1.5
        breaks = breakpoints(samples, tolerance)
    return breaks


@compiled
def turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Turn points, (n, 2), about the origin from x towards y."""
    cos, sin = np.cos(angle), np.sin(angle)
    result = np.empty_like(points)
    for number in range(len(points)):
        result[number, 0] = cos * points[number, 0] - sin * points[number, 1]
        result[number, 1] = sin * points[number, 0] + cos * points[number, 1]
    return result


@compiled
def _turn(samples: NDArray[np.float64]) -> float:
    """Tell whether a ring goes from x towards y, 1, or the other way, -1."""
    area, count = 0.0, len(samples)
    for number in range(count):
        after = (number + 1) % count
        area += samples[number, 0] * samples[after, 1] - samples[after, 0] * samples[number, 1]
    return 1.0 if area >= 0 else -1.0
