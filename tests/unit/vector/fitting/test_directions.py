import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon, box

from buildmap.vector.fitting.breakpoints import breakpoints
from buildmap.vector.fitting.directions import Facing, facing, off_right_angle
from buildmap.vector.fitting.moments import running_sums
from buildmap.vector.fitting.sampling import sample_ring

T_SHAPE = Polygon([(0, 0), (60, 0), (60, 20), (40, 20), (40, 45), (20, 45), (20, 20), (0, 20)])


def seen(polygon: Polygon, noise: float = 0.0) -> Facing:
    samples = sample_ring(np.array(polygon.exterior.coords))
    samples += np.random.default_rng(0).normal(0, noise, samples.shape) if noise else 0.0
    breaks = breakpoints(samples, 3.0)
    return facing(running_sums(samples, breaks[0]), breaks)


@given(st.floats(-44, 44))
def test_a_building_is_turned_by_what_it_was_turned_by(turn: float) -> None:
    assert np.degrees(seen(affinity.rotate(T_SHAPE, turn)).direction) == pytest.approx(turn, abs=0.2)


@given(st.floats(-5e3, 5e3))
def test_what_is_off_a_right_angle_is_at_most_half_of_one(degrees: float) -> None:
    off = np.degrees(off_right_angle(np.radians(degrees)))
    assert -45 - 1e-9 <= off <= 45 + 1e-9
    assert np.sin(2 * np.radians(degrees - off)) == pytest.approx(0, abs=1e-9)


def test_a_wall_that_stands_askew_does_not_turn_a_building() -> None:
    bevelled = box(0, 0, 60, 40) - Polygon([(60, 40), (60, 22), (45, 40)])
    assert np.degrees(seen(bevelled).direction) == pytest.approx(0, abs=0.1)


def test_noise_is_the_mean_square_of_what_walls_are_off() -> None:
    assert seen(box(0, 0, 200, 100)).noise == pytest.approx(0, abs=0.01)
    assert seen(box(0, 0, 200, 100), noise=0.8).noise == pytest.approx(0.64, rel=0.2)
