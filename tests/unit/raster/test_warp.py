from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from shapely import box

from buildmap.errors import InputError
from buildmap.raster.grid import Grid
from buildmap.raster.reader import RasterReader
from buildmap.raster.warp import WarpedReader, bounds_on, is_same_grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, write_raster

GEOGRAPHIC = Affine(6e-6, 0, 13.7335, 0, -5e-6, 45.147)
"""Half-metre pixels or so, around the ground of `ORIGIN`."""


def grid(width: int, height: int, transform: Affine = ORIGIN, crs: str = "EPSG:32633") -> Grid:
    return Grid(width=width, height=height, transform=transform, crs=CRS.from_user_input(crs))


def values(height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 250, (height, width), np.uint8)


def read(path: Path, on: Grid, *, rows: int) -> tuple[np.ndarray, np.ndarray]:
    reader = WarpedReader(path, on, bands=(1,))
    windows = [
        Window(col_off=0, row_off=row, width=on.width, height=min(rows, on.height - row))
        for row in range(0, on.height, rows)
    ]
    images = [reader.read(window) for window in windows]
    reader.close()
    return np.concatenate([i.pixels[0] for i in images]), np.concatenate([i.valid for i in images])


def test_a_window_of_the_raster_is_read_as_it_is_and_what_lies_beyond_is_not_valid(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", values())
    pixels, valid = read(path, grid(50, 70, ORIGIN @ Affine.translation(-3, 5)), rows=70)
    expected = np.zeros((70, 50), np.uint8)
    expected[:55, 3:] = values()[5:, :47]
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(valid, expected > 0)


def test_every_pixel_takes_the_value_at_its_centre_in_another_crs(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", values())
    with RasterReader(path) as reader:
        left, bottom, right, top = bounds_on(grid(1, 1, GEOGRAPHIC, "EPSG:4326"), reader.grid)
    on = grid(70, 60, Affine((right - left) / 70, 0, left, 0, (bottom - top) / 60, top), "EPSG:4326")
    pixels, valid = read(path, on, rows=60)
    rows, cols = np.mgrid[:60, :70] + 0.5
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    xs, ys = to_utm.transform(*(on.transform @ (cols.ravel(), rows.ravel())))
    source_cols, source_rows = np.floor(~ORIGIN @ (xs, ys)).astype(int)
    inside = (source_cols >= 0) & (source_cols < 80) & (source_rows >= 0) & (source_rows < 60)
    np.testing.assert_array_equal(valid.ravel(), inside)
    expected = values()[source_rows[inside], source_cols[inside]]
    np.testing.assert_array_equal(pixels.ravel()[inside], expected)


@pytest.mark.parametrize("rows", [1, 7, 33])
def test_the_height_of_windows_changes_nothing(tmp_path: Path, rows: int) -> None:
    path = write_raster(tmp_path / "a.tif", values(300, 400), nodata=7)
    on = grid(330, 170, Affine(6.3e-6, 1e-7, 13.7291, 2e-7, -9e-6, 45.1467), "EPSG:4326")
    whole = read(path, on, rows=170)
    assert whole[1].any() and not whole[1].all()
    for one, other in zip(read(path, on, rows=rows), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nodata_alpha_masks_and_nan_stay_what_they_are(tmp_path: Path) -> None:
    hole = np.zeros((60, 80), bool)
    hole[10:20, 30:50] = True
    shifted = grid(80, 60, ORIGIN @ Affine.translation(2, 2))
    expected = np.zeros((60, 80), bool)
    expected[:58, :78] = ~hole[2:, 2:]
    nodata = write_raster(tmp_path / "nodata.tif", np.where(hole, 255, values()), nodata=255)
    whole = np.zeros((60, 80), bool)
    whole[:58, :78] = True
    for dtype in ("int16", "uint16", "int32", "float32", "float64"):
        path = write_raster(tmp_path / f"{dtype}.tif", np.zeros((60, 80), dtype))
        np.testing.assert_array_equal(read(path, shifted, rows=60)[1], whole, err_msg=dtype)
    nan = write_raster(tmp_path / "nan.tif", np.where(hole, np.nan, 0.5).astype(np.float32))
    alpha = write_raster(
        tmp_path / "alpha.tif", np.stack([values(), np.where(hole, 0, 255).astype(np.uint8)]), alpha="yes"
    )
    masked = write_raster(tmp_path / "masked.tif", values())
    with rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(~hole)
    for path in (nodata, nan, alpha, masked):
        np.testing.assert_array_equal(read(path, shifted, rows=60)[1], expected, err_msg=path.name)


def test_what_lies_between_the_rasters_of_a_tile_index_is_not_valid(tmp_path: Path) -> None:
    left, right = (ORIGIN @ Affine.translation(col, 0) for col in (0, 40))
    paths = [
        write_raster(tmp_path / name, values(20, 20), transform=place)
        for name, place in (("a.tif", left), ("b.tif", right))
    ]
    outlines = [box(*grid(20, 20, place).bounds) for place in (left, right)]
    index = tmp_path / "index.gti.gpkg"
    gpd.GeoDataFrame({"location": list(map(str, paths))}, geometry=outlines, crs=32633).to_file(index)
    _, valid = read(index, grid(60, 20, ORIGIN @ Affine.translation(0.3, 0)), rows=20)
    assert np.flatnonzero(valid.all(axis=0)).tolist() == [*range(20), *range(40, 60)]
    assert not valid[:, 20:40].any()


def test_grids_are_the_same_up_to_a_thousandth_of_a_pixel() -> None:
    here = grid(80, 60)
    assert is_same_grid(here, replace(here, transform=ORIGIN @ Affine.translation(5e-4, 0)))
    assert not is_same_grid(here, replace(here, transform=ORIGIN @ Affine.translation(0.1, 0)))
    assert not is_same_grid(here, replace(here, transform=ORIGIN @ Affine.scale(1.001, 1)))
    assert not is_same_grid(here, replace(here, width=81))
    assert not is_same_grid(here, replace(here, crs=CRS.from_epsg(32632)))


def test_bounds_on_a_grid_hold_all_corners() -> None:
    here, there = grid(80, 60), grid(1, 1, GEOGRAPHIC, "EPSG:4326")
    left, bottom, right, top = bounds_on(there, here)
    to_geographic = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    for corner in [(0, 0), (80, 0), (0, 60), (80, 60)]:
        lon, lat = to_geographic.transform(*(ORIGIN @ corner))
        assert left <= lon <= right and bottom <= lat <= top
    assert bounds_on(here, here) == here.bounds


def test_ground_that_has_no_place_in_the_other_crs_is_refused() -> None:
    sumatra = grid(2, 2, Affine(1, 0, 104, 0, -1, 1), "EPSG:4326")
    with pytest.raises(InputError, match="no place in EPSG:32633"):
        bounds_on(grid(10, 10), sumatra)
