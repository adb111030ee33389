import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from buildmap.vector.ragged import count_corners, open_corners, owners, to_ragged

COURT = box(0, 0, 10, 10) - box(4, 4, 6, 6)
TRIANGLE = Polygon([(20, 0), (24, 0), (20, 3)])
BOTH = np.array([COURT, TRIANGLE], object)


def test_corners_are_counted_on_all_rings_without_those_that_close_them() -> None:
    assert count_corners(to_ragged(BOTH)).tolist() == [8, 3]


def test_every_corner_knows_its_polygon() -> None:
    outlines = to_ragged(BOTH)
    assert owners(outlines).tolist() == [0] * 10 + [1] * 4
    np.testing.assert_array_equal(outlines.corners, shapely.get_coordinates(BOTH))


def test_open_corners_are_those_of_the_polygons_each_once() -> None:
    corners, starts = open_corners(to_ragged(BOTH))
    assert starts.tolist() == [0, 8, 11]
    assert [tuple(corner) for corner in corners[:4]] == list(COURT.exterior.coords)[:-1]
    assert [tuple(corner) for corner in corners[4:8]] == list(COURT.interiors[0].coords)[:-1]
    assert [tuple(corner) for corner in corners[8:]] == list(TRIANGLE.exterior.coords)[:-1]


def test_no_polygons_make_empty_arrays() -> None:
    outlines = to_ragged(np.empty(0, object))
    assert count_corners(outlines).tolist() == owners(outlines).tolist() == []
    assert open_corners(outlines)[1].tolist() == [0]


def test_arrays_are_those_of_shapely_for_polygons_with_holes_and_empty_ones() -> None:
    two_courts = box(0, 0, 10, 10) - box(1, 1, 3, 4) - box(5, 5, 7, 9)
    some = np.array([TRIANGLE, two_courts, Polygon(), COURT, TRIANGLE, Polygon()], object)
    _, corners, (rings, polygons) = shapely.to_ragged_array(some)
    outlines = to_ragged(some)
    np.testing.assert_array_equal(outlines.corners, corners)
    assert (outlines.rings.tolist(), outlines.polygons.tolist()) == (rings.tolist(), polygons.tolist())


def test_heights_are_left_behind() -> None:
    corners = to_ragged(np.array([shapely.force_3d(TRIANGLE, 7.0)], object)).corners
    np.testing.assert_array_equal(corners, shapely.get_coordinates(TRIANGLE))


def test_anything_but_polygons_is_refused() -> None:
    with pytest.raises(ValueError, match="not multipolygon"):
        to_ragged(np.array([COURT, MultiPolygon([TRIANGLE])], object))
