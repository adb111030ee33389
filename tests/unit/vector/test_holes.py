"""Filling small holes."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.vector.holes import fill_holes


def ring(left: float, top: float, size: float) -> list[tuple[float, float]]:
    return list(shapely.box(left, top, left + size, top + size).exterior.coords)


def with_holes(size: float, *holes: tuple[float, float, float]) -> shapely.Polygon:
    return shapely.Polygon(ring(0, 0, size), [ring(*hole) for hole in holes])


def filled_one_by_one(polygons: np.ndarray, min_area: np.ndarray) -> list[shapely.Polygon]:
    return [
        shapely.Polygon(
            polygon.exterior, [hole for hole in polygon.interiors if shapely.Polygon(hole).area >= least]
        )
        for polygon, least in zip(polygons, min_area, strict=True)
    ]


@given(st.lists(st.tuples(st.lists(st.integers(1, 4), max_size=3), st.integers(0, 17)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_holes_go_where_they_are_smaller_than_asked(cases: list[tuple[list[int], int]]) -> None:
    polygons = np.array(
        [
            with_holes(30, *((1 + 8 * place, 2.5, float(size)) for place, size in enumerate(sizes)))
            for sizes, _ in cases
        ],
        np.object_,
    ).reshape(-1)
    least = np.array([float(area) for _, area in cases])
    found = fill_holes(polygons, least)
    expected = filled_one_by_one(polygons, least)
    assert [polygon.wkb for polygon in found] == [polygon.wkb for polygon in expected]


def test_a_hole_of_just_that_area_stays() -> None:
    polygons = np.array([with_holes(9, (2, 2, 2), (5, 5, 3))], np.object_)
    assert shapely.get_num_interior_rings(fill_holes(polygons, np.array([4.0]))).tolist() == [2]
    assert shapely.get_num_interior_rings(fill_holes(polygons, np.array([4.1]))).tolist() == [1]


def test_far_from_the_origin_areas_are_as_good() -> None:
    far = shapely.transform(with_holes(9, (2, 2, 2)), lambda corners: corners + 2.0**40)
    assert fill_holes(np.array([far]), np.array([4.0]))[0].equals(far)


def test_what_is_not_changed_is_the_same_object_and_the_input_stays() -> None:
    polygons = np.array([with_holes(9), with_holes(9, (2, 2, 2))], np.object_)
    found = fill_holes(polygons, np.array([9.0, 9.0]))
    assert found[0] is polygons[0]
    assert len(polygons[1].interiors) == 1 and len(found[1].interiors) == 0
