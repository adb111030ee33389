import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from buildmap.vector.overlap_area import common_area
from tests.unit.vector.traced import rough_mask, traced


@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.8, 1.2))
@settings(max_examples=40, deadline=None)
def test_the_common_area_is_that_of_the_intersection(seed: int, shift: float, scale: float) -> None:
    polygons = traced(rough_mask(np.random.default_rng(seed), 30))
    moved = shapely.transform(polygons, lambda c: c * scale + shift)
    expected = shapely.area(shapely.intersection(polygons, moved))
    np.testing.assert_allclose(common_area(polygons, moved), expected, atol=1e-9)
    np.testing.assert_allclose(common_area(shapely.reverse(polygons), moved), expected, atol=1e-9)


def test_a_polygon_has_its_own_area_in_common_with_itself() -> None:
    polygons = traced(rough_mask(np.random.default_rng(9)))
    assert max(shapely.get_num_interior_rings(polygons)) > 0
    np.testing.assert_allclose(common_area(polygons, polygons), shapely.area(polygons), rtol=1e-12)


def test_crossing_edges_share_the_area_below_both() -> None:
    one, other = shapely.Polygon([(0, 0), (4, 0), (4, 4)]), shapely.Polygon([(0, 4), (4, 0), (4, 4)])
    pair = np.array([one], object), np.array([other], object)
    assert common_area(*pair).tolist() == pytest.approx([4])


def test_polygons_apart_have_nothing_in_common() -> None:
    pair = np.array([shapely.box(0, 0, 2, 2)], object), np.array([shapely.box(3, 0, 5, 2)], object)
    assert common_area(*pair).tolist() == [0]


@pytest.mark.parametrize("degrees", [10.0, 45.0, 91.0, -3.0])
@pytest.mark.parametrize("shift", [(0, 0), (0, -3), (2, 0), (-1.5, 4)])
def test_an_edge_on_the_lower_side_of_the_common_box_counts(
    degrees: float, shift: tuple[float, float]
) -> None:
    level = shapely.box(0, 0, 10, 10)
    turned = affinity.translate(affinity.rotate(level, degrees), *shift)
    for one, other in ((level, turned), (turned, level)):
        found = common_area(np.array([one], object), np.array([other], object))
        assert found[0] == pytest.approx(one.intersection(other).area, rel=1e-12)


def comb(teeth: int) -> shapely.Polygon:
    top = [(x / 2, 1 + x % 2 * 3.0) for x in range(2 * teeth)]
    return shapely.Polygon([(0, 0), *top, (teeth, 0)])


def test_polygons_of_many_corners_are_left_to_geos() -> None:
    many, few = comb(700), comb(3)
    polygons = np.array([many, few], object)
    moved = shapely.transform(polygons, lambda corners: corners + 0.3)
    exact = shapely.area(shapely.intersection(polygons, moved))
    found = common_area(polygons, moved)
    assert found[0] == exact[0]
    assert found[1] == pytest.approx(exact[1], rel=1e-12)
