import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Point

from buildmap.vector.fitting.breakpoints import begun_at, breakpoints


def wobbly(seed: int, count: int) -> NDArray[np.float64]:
    angle = np.arange(count) * 2 * np.pi / count
    radius = 20 + np.random.default_rng(seed).normal(0, 1.5, count)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def kept_by_hand(samples: NDArray[np.float64], tolerance: float) -> set[int]:
    """Douglas and Peucker by recursion, between the same two samples."""
    count = len(samples)
    first = int(np.argmax(np.hypot(*(samples - samples.mean(0)).T)))
    opposite = int(np.argmax(np.hypot(*(samples - samples[first]).T)))

    def between(start: int, stop: int) -> set[int]:
        numbers = [number % count for number in range(start + 1, stop)]
        if not numbers:
            return set()
        (x, y), (ax, ay) = samples[start % count], samples[stop % count] - samples[start % count]
        away = abs(ax * (samples[numbers, 1] - y) - ay * (samples[numbers, 0] - x)) / np.hypot(ax, ay)
        worst = int(np.argmax(away))
        if away[worst] <= tolerance:
            return set()
        place = start + 1 + worst
        return between(start, place) | {place % count} | between(place, stop)

    stop = opposite if opposite > first else opposite + count
    return {first, opposite} | between(first, stop) | between(stop, first + count)


@given(st.integers(0, 1000), st.integers(5, 80), st.floats(0.1, 6))
def test_the_samples_kept_are_those_of_the_recursion(seed: int, count: int, tolerance: float) -> None:
    samples = wobbly(seed, count)
    breaks = breakpoints(samples, tolerance)
    assert breaks[-1] == breaks[0] + count
    assert (np.diff(breaks) > 0).all()
    assert {int(number) % count for number in breaks} == kept_by_hand(samples, tolerance)


@given(st.integers(0, 1000), st.floats(0.5, 4))
def test_no_sample_lies_farther_off_than_the_tolerance(seed: int, tolerance: float) -> None:
    samples = wobbly(seed, 60)
    kept = samples[breakpoints(samples, tolerance) % 60]
    assert shapely.distance(shapely.LineString(kept), shapely.points(samples)).max() <= tolerance + 1e-9


def test_the_first_breakpoint_is_the_corner_farthest_out() -> None:
    rectangle = np.array([(x, 0) for x in range(30)] + [(30, y) for y in range(5)] + [(0, 5), (0, 2)], float)
    x, y = rectangle[breakpoints(rectangle, 0.5)[0]]
    assert (x, y) == (0, 5)


def test_two_samples_at_one_place_are_no_obstacle() -> None:
    there_and_back = np.array([(0, 0), (5, 0), (10, 0), (5, 0), (0, 0), (5, 3)], float)
    assert len(breakpoints(there_and_back, 0.1)) >= 4


def test_a_ring_may_begin_at_any_of_its_breakpoints() -> None:
    samples = shapely.get_coordinates(Point(0, 0).buffer(20))[:-1]
    breaks = breakpoints(samples, 2.0)
    begun = begun_at(breaks, int(breaks[2]), len(samples))
    assert begun[0] == breaks[2] % len(samples)
    assert begun[-1] == begun[0] + len(samples)
    assert (np.diff(begun) > 0).all()
    assert {int(b) % len(samples) for b in begun} == {int(b) % len(samples) for b in breaks}


@pytest.mark.parametrize("tolerance", [0.0, 100.0])
def test_a_tolerance_of_nothing_keeps_all_and_a_large_one_keeps_two(tolerance: float) -> None:
    samples = wobbly(1, 50)
    assert len(breakpoints(samples, tolerance)) == (51 if tolerance == 0 else 3)
