import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Point, Polygon, box

from buildmap.vector.fitting.breakpoints import begun_at, breakpoints
from buildmap.vector.fitting.moments import running_sums
from buildmap.vector.fitting.partition import FREE, Prices, Runs, kind_angle, partition
from buildmap.vector.fitting.sampling import sample_ring

PRICES = Prices(corner=100.0, diagonal=60.0, free=180.0, hidden=12.0, hidden_max=14)
NO_FREE = PRICES._replace(free=1e12)
NOISE = 8.0
"""So much that no run of these small rings is hopeless."""


def runs_of(samples: NDArray[np.float64], tolerance: float = 1.0, prices: Prices = PRICES) -> Runs:
    breaks = breakpoints(samples, tolerance)
    return partition(running_sums(samples, breaks[0]), breaks, 0.25, prices)


def sampled(polygon: Polygon) -> NDArray[np.float64]:
    return sample_ring(np.array(polygon.exterior.coords))


def run_cost(samples: NDArray[np.float64], start: int, stop: int, kind: int, noise: float) -> float:
    """Squares of the distances from the best line of a direction; infinite where it is another's turn."""
    cut = min(2, (stop - start) // 5)
    part = samples[np.arange(start + cut, stop + 1 - cut) % len(samples)]
    chord = samples[stop % len(samples)] - samples[start % len(samples)]
    along = np.array([math.cos(kind_angle(kind)), math.sin(kind_angle(kind))])
    same = range(4 * (kind // 4), 4 * (kind // 4) + 4)
    dots = [chord @ [math.cos(kind_angle(k)), math.sin(kind_angle(k))] for k in same]
    if chord @ along < max(dots) - 1e-9:
        return math.inf
    off = part - part.mean(0)
    return float(((off @ [-along[1], along[0]]) ** 2).sum() / noise)


def cheapest_of_all(samples: NDArray[np.float64], breaks: NDArray[np.int64], prices: Prices) -> float:
    """Try every partition and every labelling with the eight directions."""
    count, best = len(breaks) - 1, math.inf
    for size in range(2, count + 1):
        for inner in itertools.combinations(range(1, count), size - 1):
            places = [0, *inner, count]
            for kinds in itertools.product(range(8), repeat=size):
                cost = sum(
                    run_cost(samples, breaks[a], breaks[b], kind, NOISE)
                    + prices.corner
                    + (kind >= 4) * prices.diagonal
                    for a, b, kind in zip(places[:-1], places[1:], kinds, strict=True)
                )
                turns = [kind_angle(b) - kind_angle(a) for a, b in itertools.pairwise(kinds)]
                if all(abs(math.sin(turn)) > 0.2 and math.cos(turn) > -0.5 for turn in turns):
                    best = min(best, cost)
    return best


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_no_partition_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 5))
    samples = sampled(Polygon(np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(4, 12, (5, 1))))
    breaks = breakpoints(samples, 1.0)
    breaks = np.append(breaks[: min(4, len(breaks) - 1)], breaks[-1])
    prices = Prices(corner=20.0, diagonal=5.0, free=1e12, hidden=1e12, hidden_max=0)
    found = partition(running_sums(samples, breaks[0]), breaks, NOISE, prices)
    best = cheapest_of_all(samples, breaks, prices)
    if best == math.inf:
        assert found.cost >= prices.free
    else:
        assert found.cost == pytest.approx(best, rel=1e-6, abs=1e-6)


def test_a_rectangle_has_four_walls_and_costs_four_corners() -> None:
    runs = runs_of(sampled(box(0, 0, 50, 30)))
    assert sorted(runs.kind.tolist()) == [0, 1, 2, 3]
    assert runs.cost == pytest.approx(400, abs=20)


def test_runs_cover_the_ring_once() -> None:
    samples = sampled(affinity.rotate(Polygon([(0, 0), (60, 0), (60, 20), (30, 20), (30, 50), (0, 50)]), 3))
    runs = runs_of(samples)
    assert runs.start[1:].tolist() == runs.stop[:-1].tolist()
    assert runs.stop[-1] == runs.start[0] + len(samples)


def test_a_bevel_stands_at_45_degrees() -> None:
    runs = runs_of(sampled(box(0, 0, 60, 40) - Polygon([(60, 40), (60, 20), (40, 40)])))
    assert sorted(runs.kind.tolist()) == [0, 1, 2, 3, 7]
    assert np.degrees(runs.angle[runs.kind == 7] % np.pi) == pytest.approx(135)


def test_a_wall_gets_a_direction_of_its_own_when_it_is_long_enough() -> None:
    def kinds(length: float) -> list[int]:
        slope = math.tan(math.radians(7))
        leaning = Polygon([(0, 0), (length, 0), (length, length), (0, length - slope * length)])
        return sorted(runs_of(sampled(leaning)).kind.tolist())

    assert FREE in kinds(120)
    assert kinds(15) == [0, 1, 2, 3]


def test_a_bite_at_a_corner_is_hidden_and_not_drawn() -> None:
    bitten = sampled(box(0, 0, 60, 40) - Point(60, 40).buffer(8, quad_segs=12))
    runs = runs_of(bitten)
    assert sorted(runs.kind.tolist()) == [0, 1, 2, 3]
    assert (runs.start[1:] - runs.stop[:-1]).max() >= 5
    drawn = runs_of(bitten, prices=PRICES._replace(hidden_max=0))
    assert len(drawn.kind) > 4


def test_neighbours_are_never_parallel() -> None:
    stepped = sampled(Polygon([(0, 0), (40, 0), (40, 6), (80, 6), (80, 40), (0, 40)]))
    runs = runs_of(stepped, prices=NO_FREE)
    turns = np.sin(np.diff(runs.angle))
    assert (np.abs(turns) > 0.2).all()
    assert len(runs.kind) == 6


def test_wobble_is_noise_where_there_is_much_of_it() -> None:
    samples = sampled(box(0, 0, 90, 60))
    samples += np.random.default_rng(5).normal(0, 1.5, samples.shape)
    breaks = breakpoints(samples, 1.0)
    sums = running_sums(samples, breaks[0])
    assert len(partition(sums, breaks, 2.25, PRICES).kind) == 4
    assert len(partition(sums, breaks, 0.02, PRICES).kind) > 4


@pytest.mark.parametrize("tip_deg", [20.0, 45.0, 60.0])
def test_a_tip_has_a_wall_with_an_angle_of_its_own(tip_deg: float) -> None:
    height = 90 * math.tan(math.radians(tip_deg))
    samples = sampled(Polygon([(0, 0), (90, 0), (0, height)]))
    breaks = begun_at(breakpoints(samples, 1.0), 90 + round(math.hypot(90, height)), len(samples))
    found = partition(running_sums(samples, breaks[0]), breaks, 0.25, PRICES)
    assert len(found.kind) == 3
    assert FREE in found.kind
