import math
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Point, box

from buildmap.errors import InputError
from buildmap.metrics import regions
from buildmap.metrics.average_precision import SIZES_M2
from buildmap.metrics.regions import (
    GSD_EDGES_M,
    NO_NAME,
    SIZE_CLASSES_M2,
    Regions,
    gsd_bins,
    read_regions,
    size_class,
)
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_layer

X, Y = 400_000, 5_000_000
GRID = Grid(width=120, height=80, transform=ORIGIN, crs=rasterio.CRS.from_user_input(UTM))
"""60 m to the east and 40 m to the south of (X, Y)."""
ROTATED = Affine.translation(X, Y) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)


def discs(rng: np.random.Generator, grid: Grid, count: int) -> NDArray[np.object_]:
    """Draw overlapping discs over a grid."""
    centres = rng.uniform(-5, 1.05 * np.array([grid.width, grid.height]), (count, 2))
    return np.array([Point(grid.transform @ tuple(at)).buffer(rng.uniform(2, 12)) for at in centres])


def write_named(path: Path, columns: dict[str, list[object]], polygons: list[object]) -> Path:
    gpd.GeoDataFrame(columns, geometry=polygons, crs=UTM).to_file(path)
    return path


@pytest.mark.parametrize("transform", [ORIGIN, ROTATED])
def test_a_pixel_is_of_the_last_polygon_that_covers_its_centre(transform: Affine) -> None:
    grid = Grid(width=90, height=70, transform=transform, crs=GRID.crs)
    polygons = discs(np.random.default_rng(1), grid, 9)
    labels = ["b", "a", "c", "a", "b", "d", "c", "a", "d"]
    found = Regions(polygons, labels, grid)
    assert found.names == ("b", "a", "c", "d")
    rows, cols = np.mgrid[:70, :90] + 0.5
    xs, ys = transform @ (cols.ravel(), rows.ravel())
    expected = np.full(70 * 90, -1)
    for polygon, label in zip(polygons, labels, strict=True):
        expected[shapely.contains_xy(polygon, xs, ys)] = found.names.index(label)
    assert set(expected.tolist()) == {-1, 0, 1, 2, 3}
    drawn = found.label(grid.window)
    assert drawn.dtype == np.int32
    np.testing.assert_array_equal(drawn.ravel(), expected)
    points = np.column_stack([xs, ys])
    np.testing.assert_array_equal(found.of_points(points), expected)


@given(rows=st.sets(st.integers(1, 79)), cols=st.sets(st.integers(1, 119), max_size=3))
@settings(max_examples=20)
def test_any_cut_into_windows_gives_the_same_pixels(rows: set[int], cols: set[int]) -> None:
    polygons = discs(np.random.default_rng(2), GRID, 8)
    polygons[3] = Point(X + 20, Y - 20).buffer(15, quad_segs=400)  # long enough to be clipped
    found = Regions(polygons, list("aabbccdd"), GRID)
    whole = found.label(GRID.window)
    assert len(np.unique(whole)) == 5
    edges_y, edges_x = [0, *sorted(rows), 80], [0, *sorted(cols), 120]
    for top, bottom in pairwise(edges_y):
        for left, right in pairwise(edges_x):
            part = found.label(Window(col_off=left, row_off=top, width=right - left, height=bottom - top))
            np.testing.assert_array_equal(part, whole[top:bottom, left:right])


def test_many_points_are_looked_up_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    found = Regions(discs(rng, GRID, 8), list("abcdabcd"), GRID)
    points = np.column_stack([rng.uniform(X, X + 60, 50), rng.uniform(Y - 40, Y, 50)])
    at_once = found.of_points(points)
    assert len(set(at_once.tolist())) > 2
    monkeypatch.setattr(regions, "_POINTS_AT_A_TIME", 7)
    np.testing.assert_array_equal(found.of_points(points), at_once)
    assert [int(found.of_points(point[None])[0]) for point in points] == at_once.tolist()
    assert found.of_points(np.empty((0, 2))).tolist() == []


def test_ground_and_points_outside_all_regions_are_of_none() -> None:
    found = Regions(np.array([box(X, Y - 10, X + 10, Y)]), ["a"], GRID)
    assert (found.label(Window(col_off=40, row_off=30, width=5, height=4)) == np.full((4, 5), -1)).all()
    assert found.of_points(np.array([[X + 50.0, Y - 5.0], [X + 5.0, Y - 5.0]])).tolist() == [-1, 0]


def test_every_polygon_needs_a_name() -> None:
    with pytest.raises(ValueError, match="1 polygons and 2 names"):
        Regions(np.array([box(0, 0, 1, 1)]), ["a", "b"], GRID)


def test_the_column_names_the_regions_and_parts_keep_their_name(tmp_path: Path) -> None:
    squares = [box(X + 10 * i, Y - 10, X + 10 * i + 5, Y) for i in range(4)]
    layer = write_named(
        tmp_path / "towns.gpkg",
        {"town": ["Aa", "Bb", None], "code": [7, 8, 9]},
        [MultiPolygon(squares[:2]), squares[2], squares[3]],
    )
    points = np.array([[X + 10 * i + 2.0, Y - 5.0] for i in range(4)])
    towns = read_regions(layer, column="town", grid=GRID)
    assert [towns.names[index] for index in towns.of_points(points)] == ["Aa", "Aa", "Bb", NO_NAME]
    codes = read_regions(layer, column="code", grid=GRID)
    assert [codes.names[index] for index in codes.of_points(points)] == ["7", "7", "8", "9"]


def test_without_a_column_the_first_of_text_is_taken_or_else_the_row(tmp_path: Path) -> None:
    squares = [box(X, Y - 10, X + 10, Y), box(X + 20, Y - 10, X + 30, Y)]
    named = write_named(tmp_path / "a.gpkg", {"n": [1, 2], "kind": ["u", "v"], "x": ["s", "t"]}, squares)
    assert read_regions(named, column=None, grid=GRID).names == ("u", "v")
    plain = write_layer(tmp_path / "b.gpkg", squares)
    assert read_regions(plain, column=None, grid=GRID).names == ("1", "2")


def test_whole_numbers_stay_whole_in_a_column_with_gaps(tmp_path: Path) -> None:
    squares = [box(X + 10 * i, Y - 10, X + 10 * i + 5, Y) for i in range(3)]
    layer = write_named(tmp_path / "a.gpkg", {"zone": [12.0, np.nan, 2.5]}, squares)
    assert read_regions(layer, column="zone", grid=GRID).names == ("12", NO_NAME, "2.5")


def test_regions_are_brought_to_the_crs_of_the_grid(tmp_path: Path) -> None:
    there = gpd.GeoSeries([box(X + 10, Y - 20, X + 30, Y - 10)], crs=UTM).to_crs(4326)
    layer = write_layer(tmp_path / "a.gpkg", list(there), crs="EPSG:4326")
    drawn = read_regions(layer, column=None, grid=GRID).label(GRID.window)
    assert np.argwhere(drawn == 0).min(axis=0).tolist() == [20, 20]
    assert np.argwhere(drawn == 0).max(axis=0).tolist() == [39, 59]


def test_a_layer_without_polygons_or_without_the_column_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame({"town": []}, geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    with pytest.raises(InputError, match=r"none\.gpkg holds no polygons"):
        read_regions(empty, column=None, grid=GRID)
    layer = write_named(tmp_path / "a.gpkg", {"town": ["Aa"]}, [box(X, Y - 10, X + 10, Y)])
    with pytest.raises(InputError, match="twon"):
        read_regions(layer, column="twon", grid=GRID)


def test_a_layer_with_a_crs_does_not_fit_a_grid_without(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", [box(0, 0, 1, 1)])
    pixels = Grid(width=5, height=5, transform=Affine.identity(), crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        read_regions(layer, column=None, grid=pixels)


def test_gsd_bins_hold_their_lower_edge_and_name_both() -> None:
    assert gsd_bins([0.02, 0.05, 0.1, 0.148, 0.15, 2.0, 0.01]) == [
        "0.02-0.04 m",
        "0.04-0.06 m",
        "0.10-0.15 m",
        "0.10-0.15 m",
        "0.15-0.20 m",
        ">= 1.00 m",
        "< 0.02 m",
    ]
    assert gsd_bins([math.nan, 0.3]) == ["unknown", "0.30-0.50 m"]
    assert gsd_bins([0.2, 3, 40], [0.125, 10]) == ["0.125-10.00 m", "0.125-10.00 m", ">= 10.00 m"]


@pytest.mark.parametrize("nominal_m", GSD_EDGES_M)
def test_what_projection_does_to_a_nominal_gsd_moves_no_image_to_another_bin(nominal_m: float) -> None:
    assert len(set(gsd_bins([nominal_m * factor for factor in (0.9996, 1, 1.001)]))) == 1
    assert len(set(gsd_bins([nominal_m * factor for factor in (0.98, 1)]))) == 2


@pytest.mark.parametrize("edges", [[], [0.2, 0.1], [0.1, 0.1]])
def test_edges_of_gsd_bins_must_ascend(edges: list[float]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        gsd_bins([0.1], edges)


def test_a_size_class_holds_its_lower_edge() -> None:
    assert size_class([0, 49.9, 50, 199, 200, 999, 1000, 1e9, np.nan]).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        -1,
    ]
    assert len(SIZE_CLASSES_M2) == len(SIZES_M2) == 4
    for area_m2 in np.random.default_rng(1).uniform(0, 2000, 50):
        size = SIZES_M2[int(size_class([area_m2])[0])]
        assert size.low <= area_m2 < size.high
