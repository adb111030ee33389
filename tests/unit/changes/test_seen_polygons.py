import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS
from shapely.affinity import rotate, translate
from shapely.geometry import MultiPolygon, Point, Polygon, box

from buildmap.changes.seen_polygons import SeenPolygons
from buildmap.vector.projection import projection

Polygons = NDArray[np.object_]


def array(*polygons: object) -> Polygons:
    return np.array(polygons, np.object_)


def blobs(rng: np.random.Generator, count: int, *, radius: float, corners: int) -> Polygons:
    """Draw jagged polygons that overlap each other, some with a hole."""
    drawn = []
    for _ in range(count):
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(0.3, 1, corners) * radius
        outer = Polygon(np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]).buffer(0)
        if rng.random() < 0.5:
            outer -= Point(0, 0).buffer(radius / 5)
        drawn.append(translate(outer, *rng.uniform(-10, 10, 2)))
    parts = shapely.get_parts(array(*drawn))
    return parts[(shapely.get_dimensions(parts) == 2) & ~shapely.is_empty(parts)]


@given(seed=st.integers(0, 2**32), has_gaps=st.booleans(), has_valid=st.booleans())
@settings(max_examples=15, deadline=None)
def test_shares_are_those_of_the_union_of_all_ground_less_the_gaps(
    seed: int, has_gaps: bool, has_valid: bool
) -> None:
    rng = np.random.default_rng(seed)
    valid = blobs(rng, 4, radius=8, corners=200) if has_valid else None
    gaps = blobs(rng, 2, radius=5, corners=90) if has_gaps else None
    houses = array(
        *(rotate(box(x, y, x + 2, y + 3), 30 * x) for x, y in rng.uniform(-14, 14, (40, 2))),
        box(-20, -20, 20, 20) - box(-3, -3, 5, 2),
    )
    ground = box(-99, -99, 99, 99) if valid is None else shapely.union_all(valid)
    if gaps is not None:
        ground -= shapely.union_all(gaps)
    expected = shapely.area(shapely.intersection(houses, ground)) / shapely.area(houses)
    found = SeenPolygons(valid, gaps).share(houses)
    np.testing.assert_allclose(found, expected, atol=2e-9)


def test_a_building_across_pieces_of_one_ground_is_seen_whole() -> None:
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    disc = Polygon(np.column_stack([np.cos(angle), np.sin(angle)]) * 1000)
    houses = array(
        *(box(x - 5, y - 5, x + 5, y + 5) for x in range(-600, 601, 25) for y in range(-600, 601, 25))
    )
    assert (SeenPolygons(array(disc)).share(houses) == 1).all()


def test_overlapping_ground_counts_once_and_gaps_win() -> None:
    valid = array(box(0, 0, 6, 10), box(0, 0, 4, 10))
    house = array(box(0, 0, 10, 10))
    assert SeenPolygons(valid).share(house).tolist() == [0.6]
    assert SeenPolygons(valid, array(box(0, 0, 10, 5))).share(house).tolist() == [0.3]
    assert SeenPolygons(None, array(box(0, 0, 10, 5))).share(house).tolist() == [0.5]


def test_where_nothing_is_valid_nothing_was_seen() -> None:
    assert SeenPolygons(array()).share(array(box(0, 0, 1, 1), Polygon())).tolist() == [0, 0]
    assert SeenPolygons(array(box(0, 0, 1, 1))).share(array()).tolist() == []


def test_parts_of_a_multipolygon_count_by_their_area() -> None:
    both = MultiPolygon([box(0, 0, 1, 3), box(5, 0, 6, 1)])
    assert SeenPolygons(array(box(-1, -1, 2, 9))).share(array(both)).tolist() == [0.75]


def test_a_building_that_only_touches_the_ground_is_not_seen() -> None:
    valid = array(box(0, 0, 5, 5), box(5, 5, 8, 8))
    houses = array(box(5, 2, 6, 3), box(6, 3, 7, 5), box(8, 8, 9, 9))
    assert SeenPolygons(valid).share(houses).tolist() == [0, 0, 0]


def test_polygons_are_brought_to_the_ground_and_what_has_no_place_there_is_not_seen() -> None:
    move = projection(CRS(4326), CRS(3857))
    ground = shapely.transform(box(10, 40, 11, 41), lambda xy: np.column_stack(_mercator(*xy.T)))
    houses = array(box(10.5, 40.5, 10.6, 40.6), box(10.9, 40.5, 11.1, 40.6), box(10, 89, 20, 91))
    np.testing.assert_allclose(SeenPolygons(array(ground), move=move).share(houses), [1, 0.5, 0], atol=1e-8)


def _mercator(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    radius = 6_378_137
    return radius * np.radians(lon), radius * np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
