from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize, shapes
from scipy.ndimage import label
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

SLIVER = (
    "0103000000010000000400000080EA9CF5D4FF9C3FC85E016007D1BF3FB437CBC12220E03F07FCE1BC13EEEC3F"
    "EEEF0B58A4BECF3F5B0A77BE9101DF3F80EA9CF5D4FF9C3FC85E016007D1BF3F"
)
"""A triangle around (0.25, 0.48), valid, but for rounding on one line."""


def everything(grid: Grid = GRID) -> Ground:
    return ground_on(grid, within=grid.window, aoi=None, bbox=None)


def strips(ground: Ground, rows: int) -> list[Window]:
    end = ground.grid.height
    return [
        Window(col_off=0, row_off=r, width=ground.grid.width, height=min(rows, end - r))
        for r in range(0, end, rows)
    ]


def test_a_raster_of_probability_is_read_as_it_is_stored_where_it_is_valid(tmp_path: Path) -> None:
    pixels = np.arange(50 * 70, dtype=np.int64).reshape(50, 70) % 256
    path = write_raster(tmp_path / "a.tif", pixels.astype(np.uint8), nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 254,)
    with RasterReader(path) as reader:
        rows = RasterSide(reader, everything(), lowest=127).read(GRID.window)
    np.testing.assert_array_equal(rows.values[rows.valid], pixels[pixels < 255])
    np.testing.assert_array_equal(rows.valid, pixels < 255)


def test_a_mask_is_certain_and_what_is_nodata_is_not_valid(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (50, 70), np.uint8)
    path = write_raster(tmp_path / "a.tif", pixels, nodata=2)
    with RasterReader(path) as reader:
        rows = RasterSide(reader, everything(), lowest=127).read(GRID.window)
    np.testing.assert_array_equal(rows.values[rows.valid], pixels[pixels < 2] * 254)
    np.testing.assert_array_equal(rows.valid, pixels < 2)


def test_a_raster_on_another_grid_is_read_where_its_pixels_lie(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (30, 40), np.uint8)
    path = write_raster(tmp_path / "a.tif", pixels, transform=ORIGIN @ Affine.translation(11.25, 7.25))
    with RasterReader(path) as reader:
        side = RasterSide(reader, everything(), lowest=127)
        rows = side.read(GRID.window)
        side.close()
    expected = np.zeros((50, 70), bool)
    expected[7:37, 11:51] = True
    np.testing.assert_array_equal(rows.valid, expected)
    np.testing.assert_array_equal(rows.values[expected].reshape(30, 40), pixels * 254)


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_buildings_of_a_raster_are_those_of_rasterio(tmp_path: Path, rows: int) -> None:
    mask = blocks_mask(np.random.default_rng(3), 50, 70)
    path = write_raster(tmp_path / "a.tif", mask)
    with RasterReader(path) as reader:
        side = RasterSide(reader, everything(), lowest=1)
        found = side.buildings(strips(everything(), rows), Silent())
    polygons = found.store.take(slice(None))
    assert found.confidence is None  # a mask is everywhere as sure
    expected = [shape(s) for s, value in shapes(mask, transform=ORIGIN) if value]
    assert len(polygons) == len(expected) > 3
    assert {shapely.normalize(p).wkt for p in polygons} == {shapely.normalize(p).wkt for p in expected}


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_the_confidence_of_a_traced_building_is_the_mean_of_its_pixels(tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(3)
    values = np.where(blocks_mask(rng, 50, 70), rng.integers(100, 255, (50, 70)), 9).astype(np.uint8)
    values[20:30, 5:60] = 255
    path = write_raster(tmp_path / "a.tif", values, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1 / 254,)
    with RasterReader(path) as reader:
        found = RasterSide(reader, everything(), lowest=127).buildings(strips(everything(), rows), Silent())
    numbered, count = label((values >= 127) & (values < 255))
    expected = {n: values[numbered == n].mean() / 254 for n in range(1, count + 1)}
    assert found.confidence is not None and len(found.confidence) == count > 3
    inside = np.floor(~ORIGIN @ tuple(found.store.inside.T)).astype(int)
    for (col, row), confidence in zip(inside.T, found.confidence, strict=True):
        assert confidence == pytest.approx(expected.pop(int(numbered[row, col])), abs=1e-12)
    assert not expected


def test_a_single_building_has_a_confidence_too(tmp_path: Path) -> None:
    values = np.zeros((50, 70), np.float32)
    values[10:20, 10:20] = 0.75
    with RasterReader(write_raster(tmp_path / "a.tif", values)) as reader:
        found = RasterSide(reader, everything(), lowest=127).buildings(strips(everything(), 8), Silent())
    assert found.confidence is not None
    assert found.confidence.tolist() == [190 / 254]


def write_confident(path: Path, rows: dict[str, list[object]], crs: str = UTM) -> Path:
    gpd.GeoDataFrame(rows, crs=crs).to_file(path)
    return path


def squares(*cols: float) -> list[object]:
    return [box(400_000 + col, 4_999_990, 400_002 + col, 4_999_995) for col in cols]


def test_the_confidence_of_a_layer_stays_with_its_polygons(tmp_path: Path) -> None:
    far, *near = squares(5_000, 3, 10, 20)
    two = shapely.union_all(squares(24, 30))
    path = write_confident(
        tmp_path / "a.gpkg", {"geometry": [far, *near, two], "confidence": [0.1, 0.2, 0.3, np.nan, 0.5]}
    )
    found = LayerSide(path, everything()).buildings([], Silent())
    left = (found.store.bounds[:, 0] - 400_000).tolist()
    assert found.confidence is not None
    pairs = dict(zip(left, found.confidence.tolist(), strict=True))
    assert np.isnan(pairs.pop(20))
    assert pairs == {3: 0.2, 10: 0.3, 24: 0.5, 30: 0.5}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"score": [7, 5]}, [7, 5]),
        ({"score": [7, 5], "confidence": [0.5, 0.25]}, [0.5, 0.25]),
        ({"score": ["good", "bad"]}, None),
        ({"height": [7, 5]}, None),
    ],
)
def test_what_a_layer_calls_confidence_or_score_ranks_its_buildings(
    tmp_path: Path, columns: dict[str, list[object]], expected: list[float] | None
) -> None:
    path = write_confident(tmp_path / "a.gpkg", {"geometry": squares(3, 10), **columns})
    found = LayerSide(path, everything()).buildings([], Silent()).confidence
    assert (None if found is None else found.tolist()) == expected


def test_slivers_whose_area_rounds_to_nothing_are_left_out_with_their_confidence(tmp_path: Path) -> None:
    sliver = shapely.from_wkb(SLIVER)
    assert sliver.is_valid and sliver.area == 0
    grid = Grid(width=20, height=20, transform=Affine(0.1, 0, 0, 0, -0.1, 2), crs=CRS.from_epsg(4326))
    path = write_confident(
        tmp_path / "a.gpkg",
        {"geometry": [sliver, box(0.5, 0.5, 1, 1)], "confidence": [0.9, 0.4]},
        crs="EPSG:4326",
    )
    found = LayerSide(path, everything(grid)).buildings([], Silent())
    assert found.store.area.tolist() == [0.25]
    assert found.confidence is not None and found.confidence.tolist() == [0.4]


def test_a_layer_is_drawn_and_valid_everywhere(tmp_path: Path) -> None:
    houses = [box(400_003, 4_999_990, 400_010, 4_999_995), box(400_030, 4_999_970, 400_099, 4_999_980)]
    side = LayerSide(write_layer(tmp_path / "a.gpkg", houses), everything())
    rows = side.read(GRID.window)
    np.testing.assert_array_equal(rows.values, rasterize(houses, (50, 70), transform=ORIGIN) * 254)
    assert rows.valid.all()
    part = Window(col_off=40, row_off=21, width=30, height=20)
    np.testing.assert_array_equal(side.read(part).values, rows.values[21:41, 40:70])
    found = side.buildings([], Silent())
    assert found.store.take(slice(1, 2))[0].equals(houses[1])  # not cut at the border
    assert found.confidence is None


def test_an_empty_layer_is_no_mistake_but_one_of_elsewhere_is(tmp_path: Path) -> None:
    far = write_layer(tmp_path / "far.gpkg", [box(410_000, 5_000_000, 410_010, 5_000_010)])
    with pytest.raises(InputError, match=r"far.gpkg does not touch .*\(410000, .* and \(400000, "):
        LayerSide(far, everything())
    around = write_layer(
        tmp_path / "around.gpkg", [box(399_000, 0, 399_001, 1), box(401_000, 6e6, 401_001, 6e6 + 1)]
    )
    assert not LayerSide(around, everything()).read(GRID.window).values.any()


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
