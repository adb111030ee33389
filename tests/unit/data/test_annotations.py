from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from buildmap.data.annotations import FootprintTruth, MaskTruth, chip_transform
from buildmap.errors import InputError, MissingInput
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_raster
from tests.unit.data.material import houses, to_mask, to_polygons, write_picture

HEIGHT, WIDTH = 96, 120
GRID = Grid(width=WIDTH, height=HEIGHT, transform=ORIGIN, crs=CRS.from_string(UTM))
PART = Window(col_off=17, row_off=9, width=64, height=48)


@pytest.fixture
def truth() -> np.ndarray:
    return to_mask(houses(np.random.default_rng(3), HEIGHT, WIDTH, 12), HEIGHT, WIDTH)


def _cut(array: np.ndarray, window: Window = PART) -> np.ndarray:
    return array[
        window.row_off : window.row_off + window.height, window.col_off : window.col_off + window.width
    ]


def _open(path: Path, grid: Grid = GRID) -> Iterator[MaskTruth]:
    mask = MaskTruth(path, native=GRID, grid=grid)
    yield mask
    mask.close()


def _draw(
    path: Path, window: Window = PART, shape: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    for mask in _open(path):
        drawn = mask.draw(window, out_shape=shape or (window.height, window.width))
    return drawn.building, drawn.known


def test_a_resampled_window_keeps_its_corners() -> None:
    transform = chip_transform(GRID, PART, (24, 16))
    assert transform @ (0, 0) == ORIGIN @ (17, 9)
    assert transform @ (16, 24) == ORIGIN @ (17 + 64, 9 + 48)


def test_footprints_are_drawn_where_the_truth_is() -> None:
    windows = houses(np.random.default_rng(3), HEIGHT, WIDTH, 12)
    drawn = FootprintTruth(np.array(to_polygons(windows), object), GRID).draw(PART, out_shape=(48, 64))
    assert np.array_equal(drawn.building, _cut(to_mask(windows, HEIGHT, WIDTH)) > 0)
    assert drawn.known.all()


def test_footprints_are_drawn_at_twice_the_gsd() -> None:
    even = [Window(col_off=20, row_off=10, width=12, height=8)]
    drawn = FootprintTruth(np.array(to_polygons(even), object), GRID).draw(GRID.window, out_shape=(48, 60))
    expected = to_mask([Window(col_off=10, row_off=5, width=6, height=4)], 48, 60) > 0
    assert np.array_equal(drawn.building, expected)


def test_attached_footprints_are_parted_by_a_pixel_on_either_side_and_detached_ones_keep_all() -> None:
    row = [(20, 10, 12, 8), (32, 10, 6, 8), (20, 18, 12, 5), (60, 40, 7, 7), (68, 40, 7, 7)]
    windows = [Window(col_off=c, row_off=r, width=w, height=h) for c, r, w, h in row]
    expected = to_mask(windows, HEIGHT, WIDTH) > 0
    expected[10:18, 31:33] = False  # between the first and the one beside it
    expected[17:19, 20:32] = False  # and the one below it
    truth = FootprintTruth(np.array(to_polygons(windows), object), GRID, part_attached=True)
    assert np.array_equal(truth.draw(GRID.window, out_shape=(HEIGHT, WIDTH)).building, expected)


@pytest.mark.parametrize("value", [1, 255, 7])
def test_a_mask_on_the_same_grid_is_taken_pixel_by_pixel(
    tmp_path: Path, truth: np.ndarray, value: int
) -> None:
    building, known = _draw(write_raster(tmp_path / "m.tif", truth * np.uint8(value)))
    assert np.array_equal(building, _cut(truth) > 0)
    assert known.all()


def test_a_mask_with_any_band_set_is_building(tmp_path: Path, truth: np.ndarray) -> None:
    path = write_raster(tmp_path / "m.tif", np.stack([truth * 0, truth * 9, truth * 0]))
    assert np.array_equal(_draw(path)[0], _cut(truth) > 0)


def test_a_finer_mask_counts_by_the_share_of_its_pixels(tmp_path: Path) -> None:
    fine = np.random.default_rng(0).integers(0, 2, (HEIGHT * 4, WIDTH * 4), dtype=np.uint8)
    path = write_raster(tmp_path / "m.tif", fine, transform=ORIGIN @ Affine.scale(0.25))
    share = fine.reshape(HEIGHT, 4, WIDTH, 4).mean(axis=(1, 3))
    assert np.array_equal(_draw(path)[0], _cut(share) >= 0.5)


def test_a_coarser_mask_covers_all_pixels_beneath(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 2, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)
    path = write_raster(tmp_path / "m.tif", coarse, transform=ORIGIN @ Affine.scale(4))
    assert np.array_equal(_draw(path)[0], _cut(coarse.repeat(4, 0).repeat(4, 1)) > 0)


def test_a_mask_in_another_crs_lies_on_the_same_ground(tmp_path: Path, truth: np.ndarray) -> None:
    fine = truth.repeat(4, 0).repeat(4, 1)
    finer = ORIGIN @ Affine.scale(0.25)
    left, bottom, right, top = transform_bounds(UTM, "EPSG:3857", *GRID.bounds)
    transform = Affine(0.1, 0, left, 0, -0.1, top)
    warped = np.zeros((round((top - bottom) / 0.1), round((right - left) / 0.1)), np.uint8)
    reproject(
        fine,
        warped,
        src_transform=finer,
        src_crs=UTM,
        dst_transform=transform,
        dst_crs="EPSG:3857",
        resampling=Resampling.nearest,
    )
    path = write_raster(tmp_path / "m.tif", warped, transform=transform, crs="EPSG:3857")
    building, known = _draw(path)
    assert (building != (_cut(truth) > 0)).mean() < 0.002
    assert known.all()


def test_nothing_is_known_outside_a_mask_nor_where_it_has_no_data(tmp_path: Path, truth: np.ndarray) -> None:
    marked = truth[:, :60].copy()
    marked[20:30, 30:40] = 255
    path = write_raster(tmp_path / "m.tif", marked, nodata=255)
    _, known = _draw(path, GRID.window)
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    expected[:, :60] = True
    expected[20:30, 30:40] = False
    assert np.array_equal(known, expected)


def test_a_mask_that_declares_zero_as_nodata_still_knows_where_there_is_no_building(
    tmp_path: Path, truth: np.ndarray
) -> None:
    building, known = _draw(write_raster(tmp_path / "m.tif", truth, nodata=0))
    assert known.all()
    assert np.array_equal(building, _cut(truth) > 0)


def test_a_mask_without_georeferencing_lies_on_its_image_pixel_by_pixel(
    tmp_path: Path, truth: np.ndarray
) -> None:
    path = write_picture(tmp_path / "m.png", truth)
    assert np.array_equal(_draw(path)[0], _cut(truth) > 0)


def test_an_image_without_georeferencing_takes_a_mask_of_its_size(tmp_path: Path, truth: np.ndarray) -> None:
    path = write_raster(tmp_path / "m.tif", truth)
    bare = replace(GRID, transform=Affine.identity(), crs=None)
    mask = MaskTruth(path, native=bare, grid=bare)
    drawn = mask.draw(PART, out_shape=(48, 64)).building
    mask.close()
    assert np.array_equal(drawn, _cut(truth) > 0)


def test_a_mask_of_another_size_without_georeferencing_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "m.png", np.zeros((10, 20), np.uint8))
    with pytest.raises(InputError, match=r"is 20 x 10 pixels, its image 120 x 96"):
        MaskTruth(path, native=GRID, grid=GRID)


def test_a_mask_elsewhere_is_refused_with_both_extents(tmp_path: Path, truth: np.ndarray) -> None:
    path = write_raster(tmp_path / "m.tif", truth, transform=Affine.translation(5000, 0) @ ORIGIN)
    with pytest.raises(InputError, match=r"does not touch its image: extents .*405000.*400000"):
        MaskTruth(path, native=GRID, grid=GRID)


def test_a_mask_in_a_crs_that_does_not_reach_the_image_is_refused(tmp_path: Path, truth: np.ndarray) -> None:
    far = Transformer.from_crs("EPSG:4326", "EPSG:2193", always_xy=True).transform(175.0, -40.0)
    transform = Affine(0.5, 0, far[0], 0, -0.5, far[1])
    path = write_raster(tmp_path / "m.tif", truth, transform=transform, crs="EPSG:2193")
    with pytest.raises(InputError, match="does not touch its image"):
        MaskTruth(path, native=GRID, grid=GRID)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="nowhere"):
        MaskTruth(tmp_path / "nowhere.tif", native=GRID, grid=GRID)
