import numpy as np
import shapely

from buildmap.vector.walls.sound import is_sound
from buildmap.vector.walls.welding import weld


def test_a_step_beside_a_junction_goes_and_the_junction_stays() -> None:
    left = shapely.Polygon([(0, 0), (10, 0), (10, 1), (10.5, 1), (10.5, 20), (0, 20)])
    right = shapely.Polygon([(10, 0), (30, 0), (30, 20), (10.5, 20), (10.5, 1), (10, 1)])
    welded = weld(np.array([left, right]))
    assert is_sound(welded)
    assert welded[0].equals(shapely.Polygon([(0, 0), (10, 0), (10.5, 20), (0, 20)]))
    assert shapely.area(welded).sum() == 600


def test_corners_further_apart_stay_and_so_does_the_object() -> None:
    houses = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 12, 10)])
    assert weld(houses) is houses


def test_a_chain_of_short_edges_is_a_curve_and_stays() -> None:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    round_house = np.array([shapely.Polygon(np.column_stack([np.cos(angle), np.sin(angle)]) * 9)])
    assert shapely.equals_exact(weld(round_house), round_house).all()


def test_what_would_not_be_valid_stays_as_it_was() -> None:
    sliver = np.array([shapely.box(0, 0, 20, 1)])
    assert weld(sliver) is sliver


def test_a_house_of_short_edges_alone_stays_as_it_was() -> None:
    small = np.array([shapely.box(0, 0, 0.8, 0.8)])
    assert weld(small) is small


def test_a_corner_beside_a_place_where_three_meet_moves_there() -> None:
    low = shapely.Polygon([(0, 0), (10, 0), (10, 10), (9, 10.5), (0, 10.5)])
    right = shapely.box(10, 0, 20, 10)
    high = shapely.Polygon([(0, 10.5), (9, 10.5), (10, 10), (20, 10), (20, 20), (0, 20)])
    welded = weld(np.array([low, right, high]))
    assert is_sound(welded)
    assert welded[1].equals(right)
    assert welded[0].equals(shapely.Polygon([(0, 0), (10, 0), (10, 10), (0, 10.5)]))
