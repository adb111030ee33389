import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point, Polygon, box

from buildmap.vector.orientation import main_direction_deg, turn_deg
from buildmap.vector.ragged import to_ragged

L_SHAPE = Polygon([(0, 0), (18, 0), (18, 7), (9, 7), (9, 12), (0, 12)])


def direction(*polygons: Polygon) -> list[float]:
    return [float(deg) for deg in main_direction_deg(to_ragged(np.array(polygons, object)))]


@given(st.floats(0, 360), st.floats(1, 50), st.floats(1, 50))
def test_a_rectangle_faces_as_its_smallest_rectangle_does(turn: float, width: float, height: float) -> None:
    turned = affinity.rotate(box(0, 0, width, height), turn)
    (x, y), (next_x, next_y), *_ = turned.minimum_rotated_rectangle.exterior.coords
    expected = np.degrees(np.arctan2(next_y - y, next_x - x))
    assert turn_deg(np.array(direction(turned)), np.array([expected]))[0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("turn", [0.0, 1.0, 30.0, 44.0, 46.0, 89.0])
def test_a_house_is_turned_by_what_it_was_turned_by(turn: float) -> None:
    assert direction(affinity.rotate(L_SHAPE, turn)) == pytest.approx([turn], abs=1e-9)


def test_long_walls_count_more_than_short_ones() -> None:
    bevelled = box(0, 0, 20, 10) - Polygon([(20, 10), (19, 10), (20, 8)])
    assert direction(bevelled) == pytest.approx([0], abs=2)
    assert turn_deg(np.array(direction(bevelled)), np.zeros(1))[0] > 0.1


@pytest.mark.parametrize("sides", [3, 5, 6, 8, 64])
def test_round_buildings_face_nowhere(sides: int) -> None:
    angles = np.arange(sides) * 2 * np.pi / sides
    assert np.isnan(direction(Polygon(np.column_stack([np.cos(angles), np.sin(angles)])))[0])


def test_interiors_do_not_turn_a_building() -> None:
    court = L_SHAPE - affinity.rotate(box(2, 2, 6, 5), 20)
    assert direction(court) == pytest.approx([0], abs=1e-9)


def test_neighbours_in_the_arrays_do_not_turn_each_other() -> None:
    tilted, round_one = affinity.rotate(L_SHAPE, 25), Point(5, 5).buffer(3)
    together = direction(L_SHAPE, round_one, tilted, L_SHAPE)
    assert together == pytest.approx([0, np.nan, 25, 0], nan_ok=True, abs=1e-9)


def test_no_buildings_have_no_directions() -> None:
    assert main_direction_deg(to_ragged(np.empty(0, object))).tolist() == []


def test_the_turn_between_directions_is_folded_to_half_a_right_angle() -> None:
    given_deg = turn_deg(np.array([89.0, 0.0, 10.0, 90.0, np.nan]), np.array([1.0, 46.0, 10.0, 0.0, 3.0]))
    np.testing.assert_allclose(given_deg, [2, 44, 0, 0, np.nan])
