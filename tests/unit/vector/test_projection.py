"""Polygons arrive where an independent transformation puts their vertices, valid or not at all."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import Polygon, box

from buildmap.errors import InputError
from buildmap.vector.projection import is_finite, projection, reproject

UTM = "EPSG:32633"


def array(*shapes: shapely.Geometry) -> np.ndarray:
    return np.array(shapes, np.object_)


def test_every_vertex_goes_where_pyproj_puts_it_and_none_is_added() -> None:
    ring = [(500_000, 5_000_000), (500_030, 5_000_000), (500_030, 5_000_020), (500_000, 5_000_020)]
    hole = [(500_010, 5_000_005), (500_010, 5_000_010), (500_020, 5_000_010)]
    moved, keep = reproject(array(Polygon(ring, [hole])), UTM, "EPSG:4326")
    transformer = Transformer.from_crs(32633, 4326)
    for stored, given_ring in ((moved[0].exterior, ring), (moved[0].interiors[0], hole)):
        latitude, longitude = transformer.transform(*np.transpose([*given_ring, given_ring[0]]))
        np.testing.assert_array_equal(stored.coords, np.column_stack([longitude, latitude]))
    assert keep.tolist() == [True]


def test_the_same_crs_leaves_polygons_as_they_are() -> None:
    given_polygons = array(box(0, 0, 1, 1), box(2, 2, 3, 3))
    moved, keep = reproject(given_polygons, UTM, 32633)
    assert moved is given_polygons
    assert keep.tolist() == [True, True]


def test_what_has_no_place_in_the_target_is_dropped_and_the_rest_keeps_its_order() -> None:
    pole, first, second = box(10, 89, 20, 91), box(14, 45, 14.1, 45.1), box(15, 46, 15.1, 46.1)
    moved, keep = reproject(array(first, pole, second), "EPSG:4326", "EPSG:3857")
    assert keep.tolist() == [True, False, True]
    np.testing.assert_allclose(moved[0].bounds[0], 6378137 * np.radians(14))
    np.testing.assert_allclose(moved[1].bounds[0], 6378137 * np.radians(15))


def test_a_building_on_the_date_line_does_not_span_the_world() -> None:
    west, on_it = box(820_000, 8_000_000, 820_010, 8_000_010), box(815_900, 8_140_000, 834_000, 8_140_010)
    moved, keep = reproject(array(west, on_it), "EPSG:32760", "EPSG:4326")
    assert keep.tolist() == [True, False]
    assert moved[0].area < 1e-6


def test_what_becomes_invalid_is_mended_to_its_largest_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(_source: object, _target: object) -> object:
        def move(shapes: np.ndarray) -> np.ndarray:
            shapes[0] = Polygon([(0, 0), (4, 4), (4, 0), (0, 4), (0, 3), (-9, 3), (-9, 1), (0, 1)])  # bow tie
            shapes[1] = Polygon([(0, 0), (1, 1), (2, 2)])  # no area left
            return shapes

        return move

    monkeypatch.setattr("buildmap.vector.projection.projection", fold)
    moved, keep = reproject(array(box(0, 0, 1, 1), box(0, 0, 2, 2), box(0, 0, 3, 3)), UTM, "EPSG:3857")
    assert keep.tolist() == [True, False, True]
    assert moved[0].is_valid and moved[0].geom_type == "Polygon"
    assert moved[0].contains(shapely.Point(-5, 2)) and not moved[0].covers(shapely.Point(3.9, 2))
    assert moved[1].equals(box(0, 0, 3, 3))


@given(
    st.lists(st.tuples(st.floats(3e5, 7e5), st.floats(4e6, 7e6), st.floats(1, 200)), max_size=20),
    st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:3035"]),
)
def test_there_and_back_again_is_where_it_began(squares: list[tuple[float, float, float]], to: str) -> None:
    given_polygons = array(*(box(x, y, x + side, y + side) for x, y, side in squares))
    there, keep = reproject(given_polygons, UTM, to)
    assert shapely.is_valid(there).all()
    assert len(there) == keep.sum() == len(given_polygons)
    back, _ = reproject(there, to, UTM)
    assert np.all(shapely.hausdorff_distance(back, given_polygons[keep]) < 1e-3)


def test_nothing_at_all_stays_nothing() -> None:
    moved, keep = reproject(np.empty(0, np.object_), UTM, "EPSG:4326")
    assert len(moved) == len(keep) == 0


def test_what_is_no_crs_is_refused() -> None:
    with pytest.raises(InputError, match="is not a CRS"):
        reproject(array(box(0, 0, 1, 1)), UTM, "EPSG:1")


def test_nothing_has_to_move_where_a_crs_is_unknown_or_the_same() -> None:
    utm = Transformer.from_crs(32633, 4326).source_crs
    assert projection(None, utm) is None
    assert projection(utm, None) is None
    assert projection(utm, utm) is None


def test_one_coordinate_that_is_not_finite_is_enough() -> None:
    with np.errstate(invalid="ignore"):
        shapes = array(box(0, 0, 1, 1), shapely.Point(np.inf, 0), shapely.LineString([(0, 0), (1, np.nan)]))
        assert is_finite(shapes).tolist() == [True, False, False]
