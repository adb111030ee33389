import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import find_contours

from buildmap.vector.paper.points import contours, cut_ring, length_and_area, smooth, turning
from tests.unit.vector.traced import rough_mask, traced


def test_the_points_of_a_pixel_edge_ring_are_the_contour_of_marching_squares() -> None:
    mask = rough_mask(np.random.default_rng(3))
    outlines = contours(traced(mask))
    owner = np.repeat(np.arange(len(outlines.origin)), np.diff(outlines.point_rings[outlines.polygons]))
    ours = outlines.points + outlines.origin[owner]
    found = find_contours(np.pad(mask, 1).astype(float), 0.5, fully_connected="low")
    # from centres of padded pixels, as rows and columns, closed, to corners of pixels
    theirs = np.concatenate([contour[:-1, ::-1] for contour in found]) - 0.5
    assert len(found) > 10
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_an_edge_is_cut_into_equal_parts_of_about_a_pixel() -> None:
    points, first = cut_ring(np.array([(0.0, 0.0), (2.4, 0.0), (2.4, 0.2)]))
    np.testing.assert_allclose(points, [(0.6, 0), (1.8, 0), (2.4, 0.1), (1.8, 0.15), (0.6, 0.05)])
    assert first.tolist() == [0, 2, 3]


def test_first_points_lie_on_the_edge_after_their_corner() -> None:
    outlines = contours(traced(rough_mask(np.random.default_rng(4))))
    for ring in range(len(outlines.corner_rings) - 1):
        corners = outlines.corners[outlines.corner_rings[ring] : outlines.corner_rings[ring + 1]]
        first = outlines.first_point[outlines.corner_rings[ring] : outlines.corner_rings[ring + 1]]
        points = outlines.points[outlines.point_rings[ring] : outlines.point_rings[ring + 1]]
        edges = shapely.linestrings(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1))
        assert shapely.distance(edges, shapely.points(points[first])).max() == 0
        assert np.abs(points[first] - corners).sum(axis=1).max() == 0.5


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
@settings(max_examples=20, deadline=None)
def test_a_polygon_has_the_same_points_wherever_it_lies(cols: int, rows: int) -> None:
    houses = traced(rough_mask(np.random.default_rng(5), 20))
    here, there = contours(houses), contours(shapely.transform(houses, lambda c: np.add(c, (cols, rows))))
    np.testing.assert_array_equal(there.points, here.points)
    np.testing.assert_array_equal(there.origin - here.origin, np.tile((cols, rows), (len(houses), 1)))


def test_smoothing_is_a_weighted_mean_of_seven_points() -> None:
    points = np.random.default_rng(6).normal(size=(11, 2))
    weights = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
    once = sum(w * np.roll(points, 3 - k, axis=0) for k, w in enumerate(weights))
    twice = sum(w * np.roll(once, 3 - k, axis=0) for k, w in enumerate(weights))
    np.testing.assert_allclose(smooth(points, 1), once)
    np.testing.assert_allclose(smooth(points, 2), twice)


def test_a_circle_bends_by_one_over_its_radius_everywhere() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = 25 * np.column_stack([np.cos(angle), np.sin(angle)])
    np.testing.assert_allclose(turning(circle), 1 / 25, rtol=1e-4)
    np.testing.assert_allclose(turning(circle[::-1].copy()), 1 / 25, rtol=1e-4)


def test_points_that_coincide_do_not_bend() -> None:
    assert turning(np.array([(0.0, 0.0), (0.0, 0.0), (1.0, 0.0)])).tolist()[:2] == [0, 0]


def test_length_and_area_are_those_of_the_polygon() -> None:
    for polygon in traced(rough_mask(np.random.default_rng(7))):
        ring = shapely.Polygon(polygon.exterior)
        corners = shapely.get_coordinates(ring)[:-1]
        assert length_and_area(corners) == pytest.approx((ring.length, ring.area))


@pytest.mark.parametrize("odd", [shapely.Polygon(), shapely.Point(0, 0)], ids=["empty", "point"])
def test_what_has_no_contour_is_refused(odd: shapely.Geometry) -> None:
    with pytest.raises(ValueError, match=r"empty polygon|not point"):
        contours(np.array([odd], object))


def test_nothing_has_no_points() -> None:
    assert contours(np.empty(0, object)).points.shape == (0, 2)
