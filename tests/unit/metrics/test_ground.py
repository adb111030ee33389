from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.features import geometry_mask
from shapely.geometry import Point, box

from buildmap.errors import InputError
from buildmap.metrics.ground import Ground, grid_over_layers, ground_on, layer_on, meets, utm_crs
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_layer

X, Y = 400_000, 5_000_000
GRID = Grid(width=600, height=400, transform=ORIGIN, crs=rasterio.CRS.from_user_input(UTM))
"""300 m to the east and 200 m to the south of (X, Y)."""


def ground(aoi: Path | None = None, bbox: tuple[float, float, float, float] | None = None) -> Ground:
    return ground_on(GRID, within=GRID.window, aoi=aoi, bbox=bbox)


def test_without_restrictions_everything_counts() -> None:
    everything = ground()
    assert everything.window == GRID.window
    assert everything.counts(Window(col_off=3, row_off=4, width=5, height=6)).tolist() == [[True] * 5] * 6


def test_a_pixel_counts_where_its_centre_is_in_the_area_of_interest_and_in_the_box(tmp_path: Path) -> None:
    discs = [Point(X + 60, Y - 60).buffer(30), Point(X + 250, Y - 100).buffer(20)]
    degrees = gpd.GeoSeries(discs, crs=UTM).to_crs(4326)
    aoi = write_layer(tmp_path / "aoi.geojson", list(degrees), crs="EPSG:4326")
    limits = (X + 50, Y - 1000, X + 1000, Y - 60)
    counted = ground(aoi, limits).counts(GRID.window)
    inside = [disc.intersection(box(*limits)) for disc in discs]
    expected = geometry_mask(inside, (400, 600), ORIGIN, invert=True)
    assert 0 < expected.sum() < expected.size
    assert np.count_nonzero(counted ^ expected) <= 2  # GeoJSON has seven decimals
    assert not (ground(aoi).counts(GRID.window) == counted).all()


def test_only_the_window_over_the_box_and_a_rim_is_read() -> None:
    window = ground(bbox=(X + 100, Y - 110, X + 120, Y - 100)).window
    assert window == Window(col_off=200 - 64, row_off=200 - 64, width=40 + 128, height=20 + 128)


def test_nothing_outside_the_covered_part_is_read() -> None:
    covered = Window(col_off=0, row_off=0, width=220, height=400)
    part = ground_on(GRID, within=covered, aoi=None, bbox=(X + 100, Y - 110, X + 120, Y - 100))
    assert part.window == Window(col_off=136, row_off=136, width=84, height=148)


@pytest.mark.parametrize("far", [box(X - 50, Y - 50, X - 40, Y - 40), box(X, Y + 40, X + 10, Y + 50)])
def test_an_area_of_interest_somewhere_else_is_refused_with_both_extents(tmp_path: Path, far: object) -> None:
    aoi = write_layer(tmp_path / "aoi.gpkg", [far])
    with pytest.raises(
        InputError, match=r"aoi.gpkg does not touch .*\(.*\) and \(400000, 4999800, 400300, 5000000\)"
    ):
        ground(aoi)


def test_an_empty_area_of_interest_is_refused(tmp_path: Path) -> None:
    aoi = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(aoi, geometry_type="Polygon")
    with pytest.raises(InputError, match=r"none\.gpkg holds no polygons"):
        ground(aoi)


def test_a_box_and_an_area_of_interest_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(X, Y - 50, X + 50, Y)])
    with pytest.raises(InputError, match=r"no ground in the box .*\(400000, .* and \(400060, "):
        ground(aoi, (X + 60, Y - 50, X + 100, Y))


def test_a_layer_with_a_crs_does_not_fit_a_grid_without(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.gpkg", [box(0, 0, 1, 1)])
    pixels = Grid(width=5, height=5, transform=Affine.identity(), crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        list(layer_on(pixels, layer))


def test_a_layer_without_a_crs_does_not_fit_a_grid_with(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a.geojson", [box(0, 0, 1, 1)], crs="EPSG:4326")
    layer.with_suffix(".csv").write_text('WKT\n"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv has no CRS"):
        list(layer_on(GRID, layer.with_suffix(".csv")))


def test_a_layer_comes_in_the_crs_of_the_grid_with_its_columns_and_only_near_the_bounds(
    tmp_path: Path,
) -> None:
    houses = gpd.GeoSeries([box(X + at, Y - 20, X + at + 10, Y - 10) for at in (0, 50, 100)], crs=UTM)
    layer = gpd.GeoDataFrame({"score": [1, 2, 3], "other": list("abc")}, geometry=houses)
    layer.to_crs(4326).to_file(tmp_path / "a.gpkg")
    (batch,) = layer_on(GRID, tmp_path / "a.gpkg", bounds=(X + 55, Y - 100, X + 105, Y), columns=["score"])
    assert list(batch.columns) == ["score"]
    assert batch.columns["score"].tolist() == [2, 3]
    for polygon, house in zip(batch.polygons, houses[1:], strict=True):
        assert polygon.symmetric_difference(house).area < 1e-4


def test_boxes_meet_where_they_share_a_point() -> None:
    assert meets((0, 0, 1, 1), (1, 1, 2, 2)) and meets((1, 1, 2, 2), (0, 0, 1, 1))
    assert not meets((0, 0, 1, 1), (1.1, 0, 2, 1)) and not meets((0, 0, 1, 1), (0, 1.1, 1, 2))
    assert not meets((1.1, 0, 2, 1), (0, 0, 1, 1)) and not meets((0, 1.1, 1, 2), (0, 0, 1, 1))


@pytest.mark.parametrize(
    "transform", [ORIGIN, Affine.translation(X, Y) @ Affine.rotation(30) @ Affine.scale(0.5, 0.5)]
)
def test_the_window_over_a_box_is_the_smallest_that_holds_it(transform: Affine) -> None:
    grid = Grid(width=600, height=400, transform=transform, crs=GRID.crs)
    inside = Window(col_off=10, row_off=20, width=31, height=42)
    corners = [transform @ corner for corner in [(10.2, 20.2), (40.9, 61.9)]]
    box_of = (*np.min(corners, axis=0).tolist(), *np.max(corners, axis=0).tolist())
    found = grid.window_over(box_of)
    assert found is not None
    if transform == ORIGIN:
        assert found == inside
    for corner in corners:
        col, row = ~transform @ corner
        assert found.col_off <= col <= found.col_off + found.width
        assert found.row_off <= row <= found.row_off + found.height


def test_there_is_no_window_over_a_box_beside_the_grid_or_over_nothing() -> None:
    assert GRID.window_over((X - 10, Y - 10, X, Y)) is None
    assert GRID.window_over((np.nan,) * 4) is None


@pytest.mark.parametrize(
    ("lon", "lat", "code"), [(13.7, 45.1, 32633), (-0.1, 51.5, 32630), (179.9, -17, 32760), (-180, 1, 32601)]
)
def test_the_utm_zone_is_that_of_the_middle(lon: float, lat: float, code: int) -> None:
    assert utm_crs(CRS(4326), (lon - 1e-3, lat - 1e-3, lon + 1e-3, lat + 1e-3)).to_epsg() == code


def test_layers_lend_a_grid_of_square_metres_over_the_first_that_has_polygons(tmp_path: Path) -> None:
    there = gpd.GeoSeries([box(X, Y - 30, X + 20, Y)], crs=UTM).to_crs(4326)
    layer = write_layer(tmp_path / "a.gpkg", list(there), crs="EPSG:4326")
    empty = tmp_path / "none.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, geometry_type="Polygon")
    grid = grid_over_layers([empty, layer], gsd_m=0.4)
    assert grid.crs is not None and grid.crs.to_epsg() == 32633
    assert abs(grid.transform.a) == abs(grid.transform.e) == 0.4
    left, bottom, right, top = grid.bounds
    assert X - 0.4 <= left <= X and Y <= top <= Y + 0.401
    assert X + 20 <= right <= X + 20.401 and Y - 30.4 <= bottom <= Y - 30
    assert (grid_over_layers([empty, empty], gsd_m=0.4).width, grid.width >= 50) == (1, True)
