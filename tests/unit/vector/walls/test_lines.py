import math

import numpy as np
import pytest

from buildmap.vector.walls.lines import Lines, draw_lines, off_line


def staircase(angle: float, length: int) -> np.ndarray:
    """Follow pixel edges along a line."""
    points = [(0, 0)]
    for step in np.arange(0, length, 0.05):
        x, y = round(step * math.cos(angle)), round(step * math.sin(angle))
        if x != points[-1][0] and y != points[-1][1]:
            points.append((x, points[-1][1]))
        if (x, y) != points[-1]:
            points.append((x, y))
    return np.array(points, np.float64)


def lines_of(points: np.ndarray, *facing: float) -> Lines:
    directions = np.array([[*facing, math.nan]])
    return draw_lines(np.asarray(points, np.float64), np.array([0, len(points)]), directions)


def turned(angle: float, other: float) -> float:
    return abs(math.sin(angle - other))


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.7, 1.3, 2.5])
def test_a_straight_wall_is_one_line_through_its_middle(angle: float) -> None:
    lines = lines_of(staircase(angle, 40), math.nan)
    assert len(lines.angles) == 1
    assert turned(lines.angles[0], angle) < 0.02
    assert abs(off_line(20 * math.cos(angle), 20 * math.sin(angle), *lines.points[0], lines.angles[0])) < 0.5


def test_a_wall_turns_to_the_direction_of_its_house_or_square_to_it() -> None:
    points = staircase(0.05, 40)
    assert turned(lines_of(points, 0.0).angles[0], 0.0) < 1e-12
    assert turned(lines_of(points, math.pi / 2).angles[0], 0.0) < 1e-12


def test_a_wall_turns_to_the_nearest_of_several_directions() -> None:
    assert turned(lines_of(staircase(0.05, 40), 0.1, 0.04).angles[0], 0.04) < 1e-12


def test_a_long_wall_that_is_clearly_askew_stays_askew() -> None:
    assert turned(lines_of(staircase(0.25, 80), 0.0).angles[0], 0.25) < 0.02


def test_a_short_wall_is_turned_farther_than_a_long_one() -> None:
    assert turned(lines_of(staircase(0.25, 8), 0.0).angles[0], 0.0) < 1e-12


def test_a_wall_with_a_corner_becomes_two_lines_at_a_right_angle() -> None:
    lines = lines_of(np.array([[0, 0], [20, 0], [20, 15]]), 0.0)
    assert lines.offsets.tolist() == [0, 2]
    assert turned(lines.angles[0], 0.0) < 1e-12
    assert turned(lines.angles[1], math.pi / 2) < 1e-12
    assert np.hypot(*(lines.starts[1] - [20, 0])) < 1


def test_a_wall_with_a_step_becomes_two_lines_and_one_with_a_ripple_stays_one() -> None:
    step = np.array([[0, 0], [20, 0], [20, 8], [40, 8]])
    ripple = np.array([[0, 0], [20, 0], [20, 2], [22, 2], [22, 0], [40, 0]])
    along = lines_of(step, 0.0)
    across = [round(float(turned(angle, 0.0))) for angle in along.angles]
    assert across == [0, 1, 0]
    assert along.points[across.index(1), 0] == pytest.approx(20)
    assert lines_of(ripple, 0.0).offsets.tolist() == [0, 1]


def test_a_bulge_pulls_no_harder_than_a_pixel() -> None:
    bulge = np.array([[0, 0], [26, 0], [26, 3], [30, 3], [30, 0], [40, 0]])
    line = lines_of(bulge, 0.0)
    assert len(line.angles) == 1
    assert 0 < line.points[0, 1] < 0.25 < 3 * 4 / 40  # the last is what the mean would be off


def test_walls_follow_each_other() -> None:
    points = np.concatenate([staircase(0.0, 10), staircase(1.5, 12)])
    first = len(staircase(0.0, 10))
    lines = draw_lines(points, np.array([0, first, len(points)]), np.full((2, 1), math.nan))
    assert lines.offsets.tolist() == [0, 1, 2]
    assert lines.samples.sum() == pytest.approx(22, abs=4)


def test_the_distance_from_a_line_has_a_side() -> None:
    assert off_line(3.0, 2.0, 0.0, 0.0, 0.0) == 2.0
    assert off_line(3.0, 2.0, 0.0, 0.0, math.pi) == pytest.approx(-2.0)
