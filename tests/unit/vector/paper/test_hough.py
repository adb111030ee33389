import numpy as np
import pytest
import shapely
from skimage.transform import hough_line

from buildmap.vector.paper.hough import lines, votes
from buildmap.vector.paper.points import cut_ring
from tests.unit.vector.traced import turned_l


def test_votes_are_those_of_the_hough_transform() -> None:
    rng = np.random.default_rng(1)
    image = rng.random((40, 50)) < 0.05
    angles = np.radians(np.arange(-88.5, 90, 3.0))  # no whole distances, which rounding could halve
    theirs, _, distances = hough_line(image, angles)
    rows, cols = np.nonzero(image)
    points = np.column_stack([cols, rows]).astype(float)
    ours, zero = votes(points, np.column_stack([np.cos(angles), np.sin(angles)]))
    reach = min(zero, int(distances.max()))
    middle = len(distances) // 2
    np.testing.assert_array_equal(
        ours[:, zero - reach : zero + reach + 1], theirs[middle - reach : middle + reach + 1].T
    )
    assert ours.sum() == len(points) * len(angles)


@pytest.mark.parametrize("angle_deg", [0, 7.3, 30, 45, 88.9, 140])
def test_the_lines_of_a_house_are_its_walls(angle_deg: float) -> None:
    house = turned_l(angle_deg)
    points, _ = cut_ring(shapely.get_coordinates(house)[:-1])
    orientation, members = lines(points, 0.05)
    walls = np.array([60, 20, 35, 20, 25, 40])
    assert members.sum() == len(points)
    assert sorted(members) == pytest.approx(sorted(walls), abs=3)
    turned = np.degrees(orientation) - angle_deg
    longest = turned[np.argmax(members)] % 180
    assert min(longest, 180 - longest) < 0.5
    off = (turned + 45) % 90 - 45
    assert np.average(np.abs(off), weights=members) < 1


def test_short_lines_are_left_out() -> None:
    points, _ = cut_ring(shapely.get_coordinates(turned_l(10))[:-1])
    _, all_of_them = lines(points, 0.0)
    _, long = lines(points, 0.15)
    assert long.min() >= 0.15 * len(points) > all_of_them.min()
    few, _ = lines(points[:4], 0.0)
    assert len(few) == 0


def test_lines_do_not_depend_on_the_place() -> None:
    points, _ = cut_ring(shapely.get_coordinates(turned_l(10))[:-1])
    exact = np.round(points * 1024) / 1024
    here, there = lines(exact, 0.05), lines(np.add(exact, (3000, -7000)), 0.05)
    np.testing.assert_array_equal(here[0], there[0])
    np.testing.assert_array_equal(here[1], there[1])
