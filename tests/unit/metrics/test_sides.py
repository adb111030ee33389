from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize, shapes
from shapely.geometry import box, shape

from buildmap.errors import InputError, MissingInput
from buildmap.execution.progress import Silent
from buildmap.metrics.ground import Ground, ground_on
from buildmap.metrics.sides import LayerSide, RasterSide, open_raster, overlap
from buildmap.raster.grid import Grid
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, blocks_mask, write_layer, write_raster

GRID = Grid(width=70, height=50, transform=ORIGIN, crs=CRS.from_user_input(UTM))


def everything(grid: Grid = GRID) -> Ground:
    return ground_on(grid, within=grid.window, aoi=None, bbox=None)


def strips(ground: Ground, rows: int) -> list[Window]:
    end = ground.grid.height
    return [
        Window(col_off=0, row_off=r, width=ground.grid.width, height=min(rows, end - r))
        for r in range(0, end, rows)
    ]


def test_a_raster_is_a_mask_from_the_lowest_value_on_where_it_is_valid(tmp_path: Path) -> None:
    pixels = np.arange(50 * 70, dtype=np.int64).reshape(50, 70) % 256
    path = write_raster(tmp_path / "a.tif", pixels.astype(np.uint8), nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 254,)
    with RasterReader(path) as reader:
        rows = RasterSide(reader, everything(), lowest=127).read(GRID.window)
    np.testing.assert_array_equal(rows.mask, (pixels >= 127) & (pixels < 255))
    np.testing.assert_array_equal(rows.valid, pixels < 255)


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_buildings_of_a_raster_are_those_of_rasterio(tmp_path: Path, rows: int) -> None:
    mask = blocks_mask(np.random.default_rng(3), 50, 70)
    path = write_raster(tmp_path / "a.tif", mask)
    with RasterReader(path) as reader:
        polygons = RasterSide(reader, everything(), lowest=1).polygons(strips(everything(), rows), Silent())
    expected = [shape(s) for s, value in shapes(mask, transform=ORIGIN) if value]
    assert len(polygons) == len(expected) > 3
    assert {shapely.normalize(p).wkt for p in polygons} == {shapely.normalize(p).wkt for p in expected}


def test_a_layer_is_drawn_and_valid_everywhere(tmp_path: Path) -> None:
    houses = [box(400_003, 4_999_990, 400_010, 4_999_995), box(400_030, 4_999_970, 400_099, 4_999_980)]
    side = LayerSide(write_layer(tmp_path / "a.gpkg", houses), everything())
    rows = side.read(GRID.window)
    np.testing.assert_array_equal(rows.mask, rasterize(houses, (50, 70), transform=ORIGIN).astype(bool))
    assert rows.valid.all()
    assert side.polygons([], Silent())[1].equals(houses[1])  # not cut at the border


def test_an_empty_layer_is_no_mistake_but_one_of_elsewhere_is(tmp_path: Path) -> None:
    far = write_layer(tmp_path / "far.gpkg", [box(410_000, 5_000_000, 410_010, 5_000_010)])
    with pytest.raises(InputError, match=r"far.gpkg does not touch .*\(410000, .* and \(400000, "):
        LayerSide(far, everything())
    around = write_layer(
        tmp_path / "around.gpkg", [box(399_000, 0, 399_001, 1), box(401_000, 6e6, 401_001, 6e6 + 1)]
    )
    assert not LayerSide(around, everything()).read(GRID.window).mask.any()


def test_rasters_are_told_from_layers_and_from_broken_rasters(tmp_path: Path) -> None:
    assert open_raster(write_layer(tmp_path / "a.gpkg", [box(0, 0, 1, 1)])) is None
    reader = open_raster(write_raster(tmp_path / "a.tif", np.ones((4, 4), np.uint8)))
    assert reader is not None
    reader.close()
    with pytest.raises(MissingInput):
        open_raster(tmp_path / "none.tif")
    whole = write_raster(tmp_path / "b.tif", np.random.default_rng(0).integers(0, 9, (400, 400), np.uint8))
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(InputError, match="truncated"):
        open_raster(tmp_path / "cut.tif")


def overlap_of(tmp_path: Path, height: int, width: int, transform: Affine, crs: str | None) -> Window:
    path = write_raster(tmp_path / "p.tif", np.ones((height, width), np.uint8), transform=transform, crs=crs)
    with RasterReader(path) as reader:
        return overlap(reader, GRID)


def test_only_the_part_a_raster_covers_is_compared(tmp_path: Path) -> None:
    moved = ORIGIN @ Affine.translation(20, 30)
    assert overlap_of(tmp_path, 100, 10, moved, UTM) == Window(col_off=20, row_off=30, width=10, height=20)
    assert overlap_of(tmp_path, 50, 70, ORIGIN, UTM) == GRID.window


def test_rasters_that_share_no_ground_are_refused_with_both_extents(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"p.tif does not touch .*\(400035, .* and \(400000, 4999975, 400035"
    ):
        overlap_of(tmp_path, 50, 70, ORIGIN @ Affine.translation(70, 0), UTM)


def test_a_raster_without_crs_cannot_be_placed_on_one_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it has no CRS or no transform, what it is compared with has"):
        overlap_of(tmp_path, 50, 70, ORIGIN, None)


def test_a_layer_whose_rows_give_no_polygon_is_refused(tmp_path: Path) -> None:
    nulls = gpd.GeoDataFrame(geometry=[None, None], crs=UTM)
    nulls.to_file(tmp_path / "nulls.gpkg", geometry_type="Polygon")
    with pytest.raises(InputError, match=r"nulls\.gpkg: none of 2 geometries gives a polygon"):
        LayerSide(tmp_path / "nulls.gpkg", everything())
