"""Which stretches of a ring are walls, and in which of its directions: the best of all partitions.

A ring is cut at some of its breakpoints into runs, each a straight wall. A partition costs, for every run,
the squares of the distances of its samples from its line (in units of the noise), the price of a
corner, and a surcharge where the wall does not follow the main direction of the ring: a small
one at 45 degrees, a larger one at any other angle. At a corner, samples may be left to no wall, at a
price each: what a tree hides is no wall. Dynamic programming over breakpoints and directions finds the
cheapest partition in which neighbours are not parallel (Bellman, CACM 1961, for one curve). A wall along the
main direction and one at 45 degrees to it do not meet in a spike either: its tip would lie far from all
samples, and where there is such a roof, one of the two can have an angle of its own.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.fitting.moments import Scatter, best_angle, least_residual, trimmed

DIAGONALS, FREE = 4, 8
"""Directions: four at right angles from 0, four between them from 4, and any other, 8."""
_KINDS = 9
_EVIDENCE = 8
_PARALLEL = 0.2
_HOPELESS = 5.0


class Prices(NamedTuple):
    """What a partition pays; the distance of a sample costs its square over the noise."""

    corner: float
    """For every run."""
    diagonal: float
    """More for a run at 45 degrees."""
    free: float
    """More for a run at an angle of its own."""
    hidden: float
    """For a sample that is left out at a corner."""
    hidden_max: int
    """So many may be left out at one corner."""


class Runs(NamedTuple):
    """Walls in the order of the ring."""

    start: NDArray[np.int64]
    """(r,) first sample; those past the end of the ring go on counting."""
    stop: NDArray[np.int64]
    """(r,) last sample."""
    kind: NDArray[np.int64]
    """(r,) 0..8, which direction."""
    angle: NDArray[np.float64]
    """(r,) radians, along the ring."""
    cost: float
    """Of the whole partition."""


class _Table(NamedTuple):
    """What is known at every breakpoint about the cheapest partition up to there, by its last direction."""

    cost: NDArray[np.float64]
    """(k, 9) with a run that ends there."""
    start: NDArray[np.int64]
    """(k, 9) breakpoint at which that run starts."""
    before: NDArray[np.int64]
    """(k, 9) direction of the run before; -1 for the first run."""
    ready: NDArray[np.float64]
    """(k, 9) with or without hidden samples just before."""
    end: NDArray[np.int64]
    """(k, 9) breakpoint at which that run ends."""
    angle: NDArray[np.float64]
    """(k,) of the run in a direction of its own that ends there."""


@compiled
def partition(sums: NDArray[np.float64], breaks: NDArray[np.int64], noise: float, prices: Prices) -> Runs:
    """Find the cheapest partition of a ring with a corner at its first breakpoint.

    Args:
        sums: Running sums of its samples, turned so that the main direction is that of x.
        breaks: (k + 1,) samples where walls may meet; the last is the first, one ring later.
        noise: Mean square of the distances of samples from their walls, above 0.
        prices: What runs cost.
    """
    count = len(breaks)
    table = _Table(
        np.full((count, _KINDS), np.inf),
        np.full((count, _KINDS), -1),
        np.full((count, _KINDS), -1),
        np.full((count, _KINDS), np.inf),
        np.full((count, _KINDS), -1),
        np.zeros(count),
    )
    for here in range(count - 1):
        _leave_hidden(table, breaks, here, prices)
        cheapest, coming_from = _arrivals(table, here)
        least = table.ready[here].min() if here else 0.0
        for there in range(here + 1, count if here else count - 1):  # one wall makes no ring
            stretch = trimmed(sums, breaks[here], breaks[there])
            rest = least_residual(stretch) / noise
            if rest > _HOPELESS * prices.corner + 2 * stretch.samples:
                break
            chord = _chord(sums, breaks[here], breaks[there])
            for diagonal in range(2):
                kind = _nearest_kind(chord, diagonal == 1)
                cost = cheapest[kind] + prices.corner + diagonal * prices.diagonal
                cost += _residual_along(stretch, kind) / noise
                if cost < table.cost[there, kind]:
                    table.cost[there, kind], table.start[there, kind] = cost, here
                    table.before[there, kind] = coming_from[kind]
            price = rest + prices.corner + prices.free
            if stretch.samples >= _EVIDENCE and least + price < table.cost[there, FREE]:
                _try_free(table, (here, there), stretch, chord, price)
    return _trace_back(table, breaks)


@compiled
def kind_angle(kind: int) -> float:
    """Give the angle of one of the eight directions of a ring to its main one."""
    return (kind % 4) * (math.pi / 2) + (kind // 4) * (math.pi / 4)


@compiled
def _chord(sums: NDArray[np.float64], start: int, stop: int) -> tuple[float, float]:
    """Give the way from one sample to another."""
    x = (sums[stop + 1, 0] - sums[stop, 0]) - (sums[start + 1, 0] - sums[start, 0])
    y = (sums[stop + 1, 1] - sums[stop, 1]) - (sums[start + 1, 1] - sums[start, 1])
    return x, y


@compiled
def _nearest_kind(chord: tuple[float, float], diagonal: bool) -> int:
    """Find which of four directions a chord is nearest to."""
    x, y = chord
    if diagonal:
        if x > 0:
            return 4 if y > 0 else 7
        return 5 if y > 0 else 6
    if abs(x) >= abs(y):
        return 0 if x > 0 else 2
    return 1 if y > 0 else 3


@compiled
def _residual_along(stretch: Scatter, kind: int) -> float:
    """Sum the squares of the distances to the best line in one of the eight directions."""
    if kind < DIAGONALS:
        return stretch.yy if kind % 2 == 0 else stretch.xx
    turn = stretch.xy if kind % 2 == 0 else -stretch.xy
    return max((stretch.xx + stretch.yy) / 2 - turn, 0.0)


@compiled
def _leave_hidden(table: _Table, breaks: NDArray[np.int64], here: int, prices: Prices) -> None:
    """Let runs that ended a little before a breakpoint meet the next one there."""
    for kind in range(_KINDS):
        table.ready[here, kind], table.end[here, kind] = table.cost[here, kind], here
    for earlier in range(here - 1, -1, -1):
        hidden = breaks[here] - breaks[earlier]
        if hidden > prices.hidden_max:
            break
        for kind in range(_KINDS):
            cost = table.cost[earlier, kind] + hidden * prices.hidden
            if cost < table.ready[here, kind]:
                table.ready[here, kind], table.end[here, kind] = cost, earlier


@compiled
def _arrivals(table: _Table, here: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find, for every fixed direction of the next run, the cheapest direction to come from."""
    cheapest, coming_from = np.full(FREE, np.inf), np.full(FREE, -1)
    if here == 0:
        cheapest[:] = 0.0
        return cheapest, coming_from
    for before in range(_KINDS):
        cost = table.ready[here, before]
        if cost == np.inf:
            continue
        for kind in range(FREE):
            if before < FREE:
                if before // 4 == kind // 4:
                    is_corner = (before - kind) % 2 == 1
                else:
                    is_corner = math.cos(kind_angle(kind) - kind_angle(before)) > 0
            else:
                turn = kind_angle(kind) - table.angle[table.end[here, before]]
                is_corner = abs(math.sin(turn)) >= _PARALLEL
            if is_corner and cost < cheapest[kind]:
                cheapest[kind], coming_from[kind] = cost, before
    return cheapest, coming_from


@compiled
def _try_free(
    table: _Table, place: tuple[int, int], stretch: Scatter, chord: tuple[float, float], cost: float
) -> None:
    """Enter a run in a direction of its own."""
    here, there = place
    angle = best_angle(stretch)
    if math.cos(angle) * chord[0] + math.sin(angle) * chord[1] < 0:
        angle += math.pi
    if here == 0:
        table.cost[there, FREE], table.start[there, FREE], table.before[there, FREE] = cost, 0, -1
        table.angle[there] = angle
        return
    for before in range(_KINDS):
        total = table.ready[here, before] + cost
        if total >= table.cost[there, FREE]:
            continue
        came = table.angle[table.end[here, before]] if before == FREE else kind_angle(before)
        if abs(math.sin(angle - came)) >= _PARALLEL:
            table.cost[there, FREE], table.start[there, FREE] = total, here
            table.before[there, FREE], table.angle[there] = before, angle


@compiled
def _trace_back(table: _Table, breaks: NDArray[np.int64]) -> Runs:
    """Follow the cheapest partition from its end to its start."""
    count = len(breaks)
    start, stop = np.empty(count, np.int64), np.empty(count, np.int64)
    kinds, angle = np.empty(count, np.int64), np.empty(count)
    there, kind = count - 1, int(np.argmin(table.cost[count - 1]))
    cost, found = table.cost[there, kind], 0
    if cost == np.inf:
        kind = -1
    while kind >= 0:
        here = table.start[there, kind]
        start[found], stop[found], kinds[found] = breaks[here], breaks[there], kind
        angle[found] = table.angle[there] if kind == FREE else kind_angle(kind)
        found += 1
        kind, before = table.before[there, kind], here
        there = table.end[before, kind] if kind >= 0 else before
    return Runs(
        start[:found][::-1].copy(),
        stop[:found][::-1].copy(),
        kinds[:found][::-1].copy(),
        angle[:found][::-1].copy(),
        cost,
    )
