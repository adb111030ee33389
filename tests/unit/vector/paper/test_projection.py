import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.vector.paper.choice import simplify_contours
from buildmap.vector.paper.directions import Directions
from buildmap.vector.paper.points import contours, cut_ring
from buildmap.vector.paper.projection import nearest_direction, project_edges, project_ring
from tests.unit.vector.traced import traced, traced_shape, turned_l

SQUARE = np.array([0.0, np.pi / 2])


def projected(corners: list[tuple[float, float]], angle: np.ndarray, tolerance: float = 2) -> np.ndarray:
    """Project a ring whose contour is its own."""
    ring = np.array(corners, np.float64)
    points, first = cut_ring(ring)
    return project_ring(ring, first, points, angle, tolerance)


@given(st.floats(0, 2 * np.pi), st.lists(st.floats(0, 3.1), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_nearest_direction_is_that_with_the_smallest_turn(edge: float, angles: list[float]) -> None:
    along = np.array([np.cos(edge), np.sin(edge)])
    heading = nearest_direction(5 * along, np.array(angles))
    turns = np.abs((edge - np.array(angles) + np.pi / 2) % np.pi - np.pi / 2)
    assert np.linalg.norm(heading) == pytest.approx(1)
    assert heading @ along == pytest.approx(np.cos(turns.min()))


def test_a_skewed_house_becomes_square() -> None:
    ring = projected([(0, 0), (40, 1), (39, 21), (-1, 20)], SQUARE)
    np.testing.assert_allclose(ring, [(-0.5, 0.5), (39.5, 0.5), (39.5, 20.5), (-0.5, 20.5)], atol=0.01)
    assert (ring * 1024 % 1 == 0).all()


def test_every_edge_runs_along_a_direction() -> None:
    angle = np.array([np.radians(25), np.radians(115)])
    outlines = contours(traced_shape(turned_l(27)))
    simple = simplify_contours(outlines, np.array([0]), np.array([2.0]))
    directions = Directions(angle, np.array([0, 2]), np.ones(1), np.ones(1))
    corners, rings = project_edges(outlines, simple, directions, np.array([2.0]))
    assert rings.tolist() == [0, len(corners)] and len(corners) == 6
    edges = np.roll(corners, -1, axis=0) - corners
    turn = (np.degrees(np.arctan2(edges[:, 1], edges[:, 0])) - 25) % 90
    assert np.minimum(turn, 90 - turn).max() < 0.05
    truth = shapely.transform(turned_l(25), lambda c: c - outlines.origin)
    assert shapely.Polygon(corners).intersection(truth).area > 0.93 * truth.area


def test_neighbours_on_one_line_become_one() -> None:
    bent = [(0, 0), (20, 0.5), (40, 0), (40, 20), (0, 20)]
    assert len(projected(bent, SQUARE)) == 4


def test_parallel_neighbours_are_joined_by_a_step() -> None:
    stepped = [(0, 0), (20, 0), (24, 5), (44, 5), (44, 25), (0, 25)]
    ring = projected(stepped, SQUARE, 1.0)
    edges = np.roll(ring, -1, axis=0) - ring
    assert (np.abs(edges) < 1e-9).any(axis=1).all()
    assert shapely.Polygon(ring).is_valid and len(ring) == 6


def test_a_short_edge_that_would_run_backwards_is_dropped() -> None:
    nicked = [(0, 0), (40, 0), (40, 20), (20, 22), (19.5, 21.4), (0, 20)]
    ring = projected(nicked, SQUARE, 0.3)
    polygon = shapely.Polygon(ring)
    assert polygon.is_valid
    assert polygon.area == pytest.approx(40 * 20.5, rel=0.03)


def test_edges_that_all_run_one_way_collapse() -> None:
    assert projected([(0, 0), (40, 1), (80, 0)], np.array([0.0])).shape == (0, 2)


def test_a_polygon_without_directions_stays_as_it_is() -> None:
    outlines = contours(traced_shape(turned_l(27)))
    simple = simplify_contours(outlines, np.array([0]), np.array([2.0]))
    nothing = Directions(np.empty(0), np.array([0, 0]), np.zeros(1), np.zeros(1))
    corners, rings = project_edges(outlines, simple, nothing, np.array([2.0]))
    np.testing.assert_array_equal(corners, simple.corners)
    np.testing.assert_array_equal(rings, simple.rings)


def test_interiors_follow_the_directions_of_their_exterior() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55, 5:55] = 1
    mask[20:40, 15:45] = 0
    outlines = contours(traced(mask))
    simple = simplify_contours(outlines, np.array([0]), np.array([2.0]))
    directions = Directions(SQUARE, np.array([0, 2]), np.ones(1), np.ones(1))
    corners, rings = project_edges(outlines, simple, directions, np.array([2.0]))
    assert rings.tolist() == [0, 4, 8]
    assert sorted(corners[4:].tolist()) == [[10, 15], [10, 35], [40, 15], [40, 35]]


def test_round_corners_of_a_mask_do_not_move_its_walls() -> None:
    cut = [(2, 0), (38, 0), (40, 2), (40, 28), (38, 30), (2, 30), (0, 28), (0, 2)]
    points, first = cut_ring(np.array(cut, np.float64))
    square = np.array([(0.0, 0.0), (40, 0), (40, 30), (0, 30)])
    starts = np.array([len(points) - 1, first[1] + 1, first[3] + 1, first[5] + 1])
    ring = project_ring(square, starts, points, SQUARE, 2.0)
    np.testing.assert_array_equal(ring, square)


def test_a_chamfer_that_would_lie_outside_its_corner_is_dropped() -> None:
    corners = np.array([(0.0, 0.0), (38, 0), (40, 2), (40, 20), (0, 20)])
    walls = [
        np.column_stack([np.arange(38) + 0.5, np.zeros(38)]),
        np.array([(40.25, -0.75), (40.75, -0.25)]),
        np.column_stack([np.full(18, 40.0), np.arange(18) + 2.5]),
        np.column_stack([39.5 - np.arange(40), np.full(40, 20.0)]),
        np.column_stack([np.zeros(20), 19.5 - np.arange(20)]),
    ]
    starts = np.cumsum([0, *(len(wall) for wall in walls[:-1])])
    angle = np.array([0.0, np.pi / 4, np.pi / 2])
    ring = project_ring(corners, starts, np.concatenate(walls), angle, 1.0)
    np.testing.assert_array_equal(ring, [(0, 0), (40, 0), (40, 20), (0, 20)])
