import sys

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import Point, Polygon, box

from buildmap.vector.store import PolygonStore

RING = Point(40, 40).buffer(6, 3).difference(shapely.union_all([box(38, 38, 39, 39), box(41, 41, 43, 42)]))


def array(*polygons: Polygon) -> NDArray[np.object_]:
    return np.array(polygons, dtype=object)


def some_polygons(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Draw polygons of 3 to 20 corners, every fifth with two holes, none with a whole-number corner."""
    centres = rng.uniform(0, 1e6, (count, 2))
    discs = [Point(x, y).buffer(rng.uniform(3, 9), int(rng.integers(1, 6))) for x, y in centres]
    holed = [translate(RING, disc.centroid.x, 0.1) for disc in discs[::5]]
    return array(*discs, *holed)


@given(st.lists(st.integers(0, 12), max_size=6), st.integers(0, 2**32 - 1))
def test_every_polygon_comes_back_to_the_last_bit_whatever_the_batches(sizes: list[int], seed: int) -> None:
    polygons = some_polygons(np.random.default_rng(seed), sum(sizes))
    batches = np.split(polygons, np.cumsum(sizes))
    store = PolygonStore.gather(iter(batches))
    assert len(store) == len(polygons)
    assert shapely.to_wkb(store.take(slice(None))).tolist() == shapely.to_wkb(polygons).tolist()


def test_measures_are_those_of_shapely() -> None:
    polygons = some_polygons(np.random.default_rng(1), 50)
    store = PolygonStore.gather([polygons[:7], polygons[7:]])
    np.testing.assert_array_equal(store.area, shapely.area(polygons))
    np.testing.assert_array_equal(store.bounds, shapely.bounds(polygons))


def test_points_lie_inside_their_polygons_also_in_courtyards() -> None:
    polygons = array(RING, Point(40, 40).buffer(9).difference(Point(40, 40).buffer(8.9)), box(5, 5, 6, 6))
    store = PolygonStore.gather([polygons])
    assert shapely.contains_properly(polygons, shapely.points(store.inside)).all()
    assert store.inside is store.inside


@pytest.mark.parametrize(
    "rows",
    [slice(3, 9), slice(None, None, -2), slice(4, 4), np.array([7, 0, 7, 20]), np.array([], np.int64)],
    ids=str,
)
def test_rows_come_in_the_order_asked_for(rows: slice | NDArray[np.int64]) -> None:
    polygons = some_polygons(np.random.default_rng(2), 30)
    store = PolygonStore.gather([polygons])
    expected = shapely.to_wkb(polygons[rows]).tolist()
    chosen = store.select(rows)
    assert shapely.to_wkb(store.take(rows)).tolist() == expected
    assert shapely.to_wkb(chosen.take(slice(None))).tolist() == expected
    np.testing.assert_array_equal(chosen.area, store.area[rows])
    np.testing.assert_array_equal(chosen.bounds, store.bounds[rows])


def test_rows_that_are_not_there_are_refused() -> None:
    store = PolygonStore.gather([array(box(0, 0, 1, 1))])
    with pytest.raises(IndexError):
        store.take(np.array([1]))
    with pytest.raises(ValueError, match="not a mask"):
        store.take(np.array([True]))  # type: ignore[arg-type]


def test_nothing_can_be_changed() -> None:
    store = PolygonStore.gather([array(box(0, 0, 1, 1))])
    for values in (*store.flat, store.bounds, store.area, store.inside, *store.select(slice(1)).flat):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 7


def test_a_layer_may_be_empty() -> None:
    for store in (PolygonStore.gather([]), PolygonStore.gather([array()])):
        assert len(store) == len(store.take(slice(None))) == len(store.select(slice(None))) == 0
        assert store.bounds.shape == (0, 4)
        assert store.inside.shape == (0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        Point(0, 0),
        shapely.MultiPolygon([box(0, 0, 1, 1)]),
        Polygon(),
        None,
        shapely.force_3d(box(0, 0, 1, 1), 1.0),
        Polygon([(0, 0), (1, 0), (2, 0)]),
    ],
    ids=str,
)
def test_what_is_no_flat_polygon_with_an_area_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="a store takes polygons"):
        PolygonStore.gather([np.array([box(0, 0, 1, 1), wrong], dtype=object)])


def test_a_polygon_of_five_corners_takes_less_than_250_bytes() -> None:
    house = Polygon([(0, 0), (9, 0), (9, 5), (4.5, 8), (0, 5)])
    store = PolygonStore.gather([np.full(1000, house, dtype=object)])
    arrays = (*store.flat, store.bounds, store.area, store.inside)
    assert sum(values.nbytes for values in arrays) / 1000 < 180
    assert sys.getsizeof(store) < 1000
