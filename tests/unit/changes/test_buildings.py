from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.changes.buildings import Buildings, buildings_of, gather, join_stores, no_buildings
from buildmap.vector.store import PolygonStore


def shapes(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Draw boxes and discs, some with a hole."""
    centre = rng.uniform(0, 100, (count, 2))
    drawn = np.asarray(shapely.box(*centre.T, *(centre + 5).T), object)
    for number in np.flatnonzero(rng.random(count) < 0.4):
        disc = shapely.Point(centre[number]).buffer(4, int(rng.integers(1, 5)))
        drawn[number] = disc - disc.buffer(-1) if rng.random() < 0.5 else disc
    return drawn


def some(rng: np.random.Generator, count: int, first_row: int = 0) -> Buildings:
    rows = first_row + np.arange(count)
    return buildings_of(
        shapes(rng, count), rows, {"floors": rows * 2, "name": rows.astype(str).astype(object)}
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_stores_joined_are_the_store_of_all_their_polygons(seed: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    parts = [shapes(rng, count) for count in counts]
    joined = join_stores(*(PolygonStore.gather([part]) for part in parts))
    whole = PolygonStore.gather(parts)
    for found, expected in zip(
        (*joined.flat, joined.bounds, joined.area), (*whole.flat, whole.bounds, whole.area), strict=True
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_of_some_buildings_outline_row_and_columns_are_of_the_same_one(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    every = some(rng, count, first_row=100)
    chosen = rng.integers(0, count, int(rng.integers(0, 20)))
    taken = every.take(chosen)
    assert len(taken) == len(chosen)
    assert taken.row.tolist() == (100 + chosen).tolist()
    assert taken.columns["floors"].tolist() == (200 + 2 * chosen).tolist()
    assert taken.columns["name"].tolist() == [str(100 + number) for number in chosen]
    outlines = every.store.take(slice(None))
    assert shapely.equals(taken.store.take(slice(None)), outlines[chosen]).all()


def test_gathered_buildings_come_in_the_order_of_the_parts() -> None:
    rng = np.random.default_rng(1)
    last = buildings_of(shapes(rng, 2), np.array([7, 5]), {"floors": np.array([14, 10])})
    parts = [replace(one, columns={"floors": one.columns["floors"]}) for one in (some(rng, 3, 10), last)]
    joined = gather(*parts)
    assert joined.row.tolist() == [10, 11, 12, 7, 5]
    assert joined.columns["floors"].tolist() == [20, 22, 24, 14, 10]
    outlines = np.concatenate([part.store.take(slice(None)) for part in parts])
    assert shapely.equals(joined.store.take(slice(None)), outlines).all()


def test_parts_without_a_building_add_neither_columns_nor_types() -> None:
    rng = np.random.default_rng(2)
    other = no_buildings({"floors": np.empty(0, np.float64)})
    assert gather(other, some(rng, 2), no_buildings({})).columns["floors"].dtype == np.int64
    assert gather(no_buildings({}), other).columns["floors"].dtype == np.float64


def test_parts_with_different_columns_are_not_gathered_nor_none_at_all() -> None:
    rng = np.random.default_rng(3)
    bare = buildings_of(shapes(rng, 1), np.arange(1), {})
    with pytest.raises(ValueError, match=r"columns \[\] come after \['floors', 'name'\]"):
        gather(some(rng, 1), bare)
    with pytest.raises(ValueError, match="nothing to gather"):
        gather()


def test_none_have_the_types_of_the_columns_they_are_like() -> None:
    rng = np.random.default_rng(4)
    none = no_buildings(some(rng, 3).columns)
    assert (len(none), len(none.store), none.row.dtype) == (0, 0, np.int64)
    assert {name: values.dtype for name, values in none.columns.items()} == {
        "floors": np.int64,
        "name": np.object_,
    }


@pytest.mark.parametrize(("rows", "values"), [(2, 3), (3, 2)])
def test_columns_and_rows_are_as_many_as_the_polygons(rows: int, values: int) -> None:
    polygons = shapes(np.random.default_rng(5), 3)
    with pytest.raises(ValueError, match="3 polygons come with"):
        buildings_of(polygons, np.arange(rows), {"floors": np.arange(values)})
