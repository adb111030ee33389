import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon, box

from buildmap.vector.fitting.lines import Lines, corners, fit_lines, refined_direction, standing
from buildmap.vector.fitting.moments import running_sums
from buildmap.vector.fitting.partition import FREE, Runs
from buildmap.vector.fitting.sampling import sample_ring


def lines_of(polygon: Polygon) -> Lines:
    ring = np.array(polygon.exterior.coords)
    along = np.diff(ring, axis=0)
    angle = np.arctan2(along[:, 1], along[:, 0])
    offset = -np.sin(angle) * ring[:-1, 0] + np.cos(angle) * ring[:-1, 1]
    return Lines(angle, offset, np.hypot(*along.T), np.zeros(len(along), np.bool_))


def four_runs(ring: Polygon, kinds: list[int], angles: list[float]) -> tuple[np.ndarray, Runs]:
    samples = sample_ring(np.array(ring.exterior.coords))
    sizes = [round(length) for length in np.hypot(*np.diff(ring.exterior.coords, axis=0).T)]
    stops = np.cumsum(sizes)
    return samples, Runs(stops - sizes, stops - 1, np.array(kinds), np.array(angles), 0.0)


@given(st.floats(0, 360), st.floats(5, 90), st.floats(5, 90))
def test_lines_meet_in_the_corners_they_were_drawn_from(turn: float, width: float, height: float) -> None:
    drawn = affinity.rotate(box(0, 0, width, height), turn)
    met = Polygon(corners(standing(lines_of(drawn), 1.0)))
    assert met.equals_exact(drawn, 1e-6) or met.normalize().equals_exact(drawn.normalize(), 1e-6)


def test_a_wall_that_is_too_short_is_left_out_and_its_neighbours_become_one() -> None:
    stepped = Polygon([(0, 0), (30, 0), (30, 9), (60, 9), (60, 40), (0, 40)])
    assert len(standing(lines_of(stepped), 8.0).angle) == 6
    straight = corners(standing(lines_of(stepped), 10.0))
    assert len(straight) == 4
    assert straight[:, 1].min() == pytest.approx(4.5)  # both parts of the wall are 30 long


def test_a_spike_between_walls_that_do_not_meet_is_left_out() -> None:
    spike = lines_of(Polygon([(0, 0), (60, 0), (60, 30), (30, 30), (30.001, 90), (30, 30.001), (0, 30)]))
    ring = corners(standing(spike, 2.0))
    assert len(ring) >= 3
    assert not np.isnan(ring).any()
    assert ring[:, 1].max() < 40


def test_two_walls_make_no_ring() -> None:
    flat = Lines(np.array([0.0, np.pi / 2, np.pi, 0.1]), np.zeros(4), np.ones(4), np.zeros(4, np.bool_))
    assert len(standing(flat, 1.0).angle) == 0


def test_walls_that_do_not_meet_have_no_corner_between_them() -> None:
    lines = lines_of(Polygon([(0, 0), (60, 0), (60, 30), (0, 30)]))
    beside = lines._replace(angle=np.array([0.0, 0.05, np.pi, -np.pi / 2]))
    assert np.isnan(corners(beside)).any(axis=1).tolist() == [False, True, True, False]


def test_a_wall_made_of_two_has_its_own_angle_only_where_both_have() -> None:
    stepped = lines_of(Polygon([(0, 0), (30, 0), (30, 9), (60, 9), (60, 40), (0, 40)]))
    for second_is_free in (False, True):
        free = np.array([True, False, second_is_free, False, False, False])
        left = standing(stepped._replace(free=free), 10.0)
        assert left.free.tolist() == [second_is_free, False, False, False]


def test_an_outlier_hardly_moves_a_line() -> None:
    samples, runs = four_runs(box(0, 0, 40, 20), [1, 2, 3, 0], [np.pi / 2, np.pi, -np.pi / 2, 0.0])
    samples[8:12, 0] += 9
    moved = fit_lines(samples, running_sums(samples, 0), runs, 0.0)
    wall = samples[3:17, 0]
    assert -moved.offset[0] == pytest.approx(40, abs=1.5)
    assert wall.mean() > 42


def test_a_run_of_its_own_direction_gets_the_line_of_least_squares() -> None:
    samples, runs = four_runs(
        affinity.rotate(box(0, 0, 40, 20), 17), [FREE] * 4, list(np.radians([107, 197, 287, 377]))
    )
    found = fit_lines(samples, running_sums(samples, 0), runs, 0.0)
    np.testing.assert_allclose(np.degrees(found.angle) % 360, [107, 197, 287, 17], atol=1e-6)


@given(st.floats(-10, 10))
def test_the_refined_direction_is_that_of_all_runs_together(turn: float) -> None:
    samples, runs = four_runs(
        affinity.rotate(box(0, 0, 40, 20), turn), [1, 2, 3, 0], [np.pi / 2, np.pi, -np.pi / 2, 0.0]
    )
    assert np.degrees(refined_direction(running_sums(samples, 0), runs)) == pytest.approx(turn, abs=1e-6)
    free = runs._replace(kind=np.full(4, FREE))
    assert refined_direction(running_sums(samples, 0), free) == 0


def test_walls_count_by_their_length_in_the_refined_direction() -> None:
    bent = shapely.Polygon([(0, 0), (100, 0), (100, 50), (0, 50)])
    samples, runs = four_runs(bent, [0, 1, 2, 3], [0, np.pi / 2, np.pi, -np.pi / 2])
    samples[100:150, 0] += 0.02 * np.arange(50)
    assert 0 > np.degrees(refined_direction(running_sums(samples, 0), runs)) > -0.2
