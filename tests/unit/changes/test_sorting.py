"""Layers sorted into strips, against reading them at once."""

import tracemalloc
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from buildmap.changes.sorting import SortedLayer, sort_layer
from buildmap.errors import InputError
from buildmap.vector import batches
from buildmap.vector.reader import read_footprints, read_in_batches
from tests.scenes import UTM

WORKING = CRS(UTM)


def write_houses(path: Path, rng: np.random.Generator, count: int, *, crs: str = UTM) -> Path:
    """Write houses and pairs of houses in one row, and rows without any, in no order, with columns."""
    low = np.array([400_000, 5_000_000]) + rng.uniform(0, 300, (count, 2))
    shapes = list(shapely.box(*low.T, *(low + rng.uniform(2, 30, (count, 2))).T))
    for number in np.flatnonzero(rng.random(count) < 0.3):
        moved = shapely.transform(shapes[number], lambda xy: xy + 60.0)
        shapes[number] = rng.choice(np.array([shapely.MultiPolygon([shapes[number], moved]), None], object))
    columns = {
        "name": np.where(rng.random(count) < 0.3, None, [f"hü{number}" for number in range(count)]),
        "floors": np.arange(count),
        "height": rng.uniform(3, 9, count).astype(np.float32),
    }
    layer = gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM)
    layer.to_crs(crs).to_file(path, geometry_type="Unknown")
    return path


def houses(tmp_path: Path, seed: int = 1, count: int = 60) -> Path:
    return write_houses(tmp_path / "houses.gpkg", np.random.default_rng(seed), count)


def test_every_polygon_is_in_the_strip_of_its_top_with_its_row_and_columns(tmp_path: Path) -> None:
    path = houses(tmp_path)
    (whole,) = read_in_batches(path, crs=WORKING, columns=["floors", "name"])
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=40, columns=["floors", "name"])
    expected: dict[int, list[tuple[int, bytes, int, str | None]]] = {}
    for row, polygon in enumerate(whole.polygons):
        values = whole.columns["floors"][row], whole.columns["name"][row]
        expected.setdefault(int(polygon.bounds[3] // 40), []).append((row, polygon.wkb, *values))
    found = {}
    for number, buildings in layer.strips():
        outlines = [polygon.wkb for polygon in buildings.store.take(slice(None))]
        values = buildings.columns["floors"].tolist(), buildings.columns["name"].tolist()
        found[number] = list(zip(buildings.row.tolist(), outlines, *values, strict=True))
        bounds, area = shapely.bounds(shapely.from_wkb(outlines)), shapely.area(shapely.from_wkb(outlines))
        np.testing.assert_array_equal(buildings.store.bounds, bounds)
        np.testing.assert_array_equal(buildings.store.area, area)
    assert found == expected
    assert list(found) == sorted(expected, reverse=True)
    assert len(found) > 5
    assert layer.count == len(whole.polygons)
    assert layer.repairs == whole.repairs
    assert layer.repairs.null > 0
    sides = shapely.bounds(whole.polygons)
    assert layer.bounds == (*sides[:, :2].min(axis=0), *sides[:, 2:].max(axis=0))


def contents(layer: SortedLayer) -> list[object]:
    return [
        (
            number,
            some.row.tolist(),
            some.store.flat.corners.tolist(),
            {n: v.tolist() for n, v in some.columns.items()},
        )
        for number, some in layer.strips()
    ]


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_the_result_does_not_depend_on_the_batches(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = houses(tmp_path), {"columns": ["name", "floors", "height"]}
    whole = sort_layer(path, tmp_path, crs=WORKING, strip_height=25, **kept)
    in_batches = batches.stream_batches
    monkeypatch.setattr(
        "buildmap.changes.sorting.stream_batches",
        lambda *args, **options: in_batches(*args, **options, rows=rows),
    )
    cut = sort_layer(path, tmp_path, crs=WORKING, strip_height=25, **kept)
    assert len(cut.chunks.strip) > len(whole.chunks.strip)
    assert contents(cut) == contents(whole)
    assert (cut.count, cut.repairs, cut.bounds, cut.types) == (
        whole.count,
        whole.repairs,
        whole.bounds,
        whole.types,
    )


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1000))
@settings(max_examples=10, deadline=None)
def test_no_polygon_is_lost_or_doubled_whatever_the_height(
    tmp_path_factory: pytest.TempPathFactory, seed: int, height: float
) -> None:
    folder = tmp_path_factory.mktemp("sorted")
    path = write_houses(folder / "houses.gpkg", np.random.default_rng(seed), 20)
    layer = sort_layer(path, folder, crs=WORKING, strip_height=height)
    rows = [row for _, buildings in layer.strips() for row in buildings.row.tolist()]
    assert sorted(rows) == list(range(layer.count))
    numbers = [number for number, _ in layer.strips()]
    assert numbers == sorted(set(numbers), reverse=True)


def test_polygons_come_in_the_working_crs(tmp_path: Path) -> None:
    path = write_houses(tmp_path / "degrees.gpkg", np.random.default_rng(3), 20, crs="EPSG:4326")
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=1e9)
    assert layer.path.parent == tmp_path  # nowhere else: it may need more room than there is
    ((_, buildings),) = layer.strips()
    expected = read_footprints(path, crs=WORKING).polygons
    assert shapely.equals(buildings.store.take(slice(None)), expected).all()
    assert layer.bounds is not None and layer.bounds[0] > 399_000


def test_of_several_layers_that_which_is_named_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for name, left in (("one", 0), ("other", 70)):
        gpd.GeoDataFrame(geometry=[shapely.box(left, 0, left + 9, 8)], crs=UTM).to_file(path, layer=name)
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=40, layer="other")
    assert (layer.count, layer.bounds) == (1, (70, 0, 79, 8))


def test_strips_south_of_the_origin_are_numbered_downwards(tmp_path: Path) -> None:
    path = tmp_path / "south.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, top - 1, 1, top) for top in (-5, 0, 5)], crs=UTM).to_file(path)
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=10)
    assert [(number, some.row.tolist()) for number, some in layer.strips()] == [(0, [1, 2]), (-1, [0])]


def test_whole_numbers_with_gaps_are_floats_in_every_strip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gaps.gpkg"
    shapes = [shapely.box(0, 10 * n, 5, 10 * n + 5) for n in range(4)]
    floors = gpd.pd.array([1, None, 3, 4], "Int64")
    gpd.GeoDataFrame({"floors": floors}, geometry=shapes, crs=UTM).to_file(path)
    in_batches = batches.stream_batches
    monkeypatch.setattr(
        "buildmap.changes.sorting.stream_batches",
        lambda *args, **options: in_batches(*args, **options, rows=1),
    )
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=10, columns=["floors"])
    strips = [some.columns["floors"] for _, some in layer.strips()]
    assert {values.dtype for values in strips} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(np.concatenate(strips), [4, 3, np.nan, 1])
    assert layer.strip(99).columns["floors"].dtype == np.float64


def test_a_strip_without_buildings_is_empty_with_the_columns(tmp_path: Path) -> None:
    layer = sort_layer(houses(tmp_path), tmp_path, crs=WORKING, strip_height=40, columns=["name"])
    empty = layer.strip(-7)
    assert len(empty) == 0
    assert empty.columns["name"].dtype == np.object_


def test_an_empty_layer_has_no_strips_and_no_bounds(tmp_path: Path) -> None:
    path = tmp_path / "none.gpkg"
    gpd.GeoDataFrame({"name": np.array([], object)}, geometry=[], crs=UTM).to_file(
        path, geometry_type="Polygon"
    )
    layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=40, columns=["name"])
    assert (layer.count, layer.bounds, list(layer.strips())) == (0, None, [])
    assert layer.strip(0).columns["name"].tolist() == []


def test_two_layers_may_be_sorted_into_one_folder(tmp_path: Path) -> None:
    one, other = (
        write_houses(tmp_path / f"{seed}.gpkg", np.random.default_rng(seed), 10 + seed) for seed in (1, 2)
    )
    first = sort_layer(one, tmp_path, crs=WORKING, strip_height=40)
    before = contents(first)
    second = sort_layer(other, tmp_path, crs=WORKING, strip_height=40)
    assert contents(first) == before != contents(second)


@pytest.mark.parametrize("height", [0, -1, np.inf, np.nan])
def test_strips_need_a_height(tmp_path: Path, height: float) -> None:
    with pytest.raises(ValueError, match=r"strips are .* high"):
        sort_layer(houses(tmp_path), tmp_path, crs=WORKING, strip_height=height)


def test_faults_of_the_layer_are_told_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    with pytest.raises(InputError, match="no column 'flors'") as missing:
        sort_layer(houses(tmp_path), folder, crs=WORKING, strip_height=40, columns=["flors"])
    assert missing.value.hint == "did you mean 'floors'?"
    assert list(folder.iterdir()) == []


def test_memory_follows_a_batch_and_not_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_batches = batches.stream_batches
    monkeypatch.setattr(
        "buildmap.changes.sorting.stream_batches",
        lambda *args, **options: in_batches(*args, **options, rows=200),
    )
    peaks = []
    for count in (400, 4000):
        path = tmp_path / f"{count}.fgb"
        low = np.random.default_rng(1).uniform(0, 1000, (count, 2))
        gpd.GeoDataFrame(geometry=shapely.box(*low.T, *(low + 5).T), crs=UTM).to_file(path)
        sort_layer(path, tmp_path, crs=WORKING, strip_height=200)
        tracemalloc.start()
        layer = sort_layer(path, tmp_path, crs=WORKING, strip_height=200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert layer.count == count
    assert peaks[1] < 1.3 * peaks[0]
