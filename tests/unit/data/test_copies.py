from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import RasterioIOError

from buildmap.data.annotations import MaskTruth
from buildmap.data.copies import copy_image, copy_mask, image_bytes, mask_bytes
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import write_raster
from tests.unit.data.material import write_picture

GROUND = Window(col_off=40, row_off=24, width=1300, height=300)
PART = Window(col_off=1000, row_off=60, width=200, height=100)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (4, 400, 1500), dtype=np.uint8)


def _same(reader: RasterReader, window: Window, out_shape: tuple[int, int]) -> None:
    copy = copy_image(reader, GROUND)
    expected, got = (source.read(window, out_shape=out_shape) for source in (reader, copy))
    copy.close()
    assert np.array_equal(expected.valid, got.valid)
    assert np.array_equal(expected.pixels[:, expected.valid], got.pixels[:, got.valid])


def test_a_copy_gives_what_the_raster_gives(tmp_path: Path, image: np.ndarray) -> None:
    with RasterReader(write_raster(tmp_path / "a.tif", image)) as reader:
        _same(reader, PART, (100, 200))
        _same(reader, PART, (50, 100))


def test_a_copy_of_four_bands_takes_none_for_alpha(tmp_path: Path, image: np.ndarray) -> None:
    image[3] = 0
    path = write_raster(tmp_path / "a.tif", image, photometric="MINISBLACK")
    with RasterReader(path, bands=(4, 3, 2, 1)) as reader:
        copy = copy_image(reader, GROUND)
        read = copy.read(PART)
        copy.close()
    assert read.valid.all()
    assert np.array_equal(read.pixels, image[::-1, 60:160, 1000:1200])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_copy_keeps_what_is_not_valid(tmp_path: Path, image: np.ndarray, dtype: str) -> None:
    image[:, 80:120, 1050:1100] = 255
    path = write_raster(tmp_path / "a.tif", image.astype(dtype), nodata=255, photometric="MINISBLACK")
    with RasterReader(path) as reader:
        assert not reader.read(PART).valid.all()
        _same(reader, PART, (100, 200))
        _same(reader, PART, (50, 100))


def test_a_copy_is_made_at_the_working_gsd(tmp_path: Path, image: np.ndarray) -> None:
    path = write_raster(tmp_path / "a.tif", image[:3], transform=Affine(0.25, 0, 4e5, 0, -0.25, 5e6))
    window = Window(col_off=20, row_off=10, width=500, height=120)
    with RasterReader(path, gsd_range_m=(0.5, 0.5)) as reader:
        copy = copy_image(reader, window)
        expected, got = reader.read(window).pixels, copy.read(window).pixels
        copy.close()
    assert np.abs(expected.astype(int) - got.astype(int)).max() <= 1


def test_a_raster_without_georeferencing_can_be_copied(tmp_path: Path, image: np.ndarray) -> None:
    with RasterReader(write_picture(tmp_path / "a.png", image[:3])) as reader:
        _same(reader, PART, (100, 200))


def test_a_copied_mask_draws_what_the_mask_draws(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (400, 1500), dtype=np.uint8)
    mask[100:130, 1050:1100] = 9
    path = write_raster(tmp_path / "m.tif", mask, nodata=9)
    with RasterReader(path) as reader:
        grid = reader.grid
    truth = MaskTruth(path, native=grid, grid=grid)
    copy, building_px = copy_mask(truth, grid, GROUND)
    for out_shape in ((100, 200), (50, 100)):
        expected, got = (source.draw(PART, out_shape=out_shape) for source in (truth, copy))
        assert np.array_equal(expected.known, got.known)
        assert np.array_equal(expected.building[expected.known], got.building[got.known])
    copy.close()
    truth.close()
    assert building_px == (mask[24:324, 40:1340] == 1).sum()


def test_closing_frees_the_memory(tmp_path: Path, image: np.ndarray) -> None:
    with RasterReader(write_raster(tmp_path / "a.tif", image)) as reader:
        copy = copy_image(reader, GROUND)
    path = copy.path
    with rasterio.open(path) as dataset:
        assert (dataset.width, dataset.height) == (1300, 300)
    copy.close()
    with pytest.raises(RasterioIOError):
        rasterio.open(path)


def test_the_memory_asked_for_is_that_of_pixels_and_masks(tmp_path: Path, image: np.ndarray) -> None:
    with RasterReader(write_raster(tmp_path / "a.tif", image.astype(np.uint16))) as reader:
        assert image_bytes(reader, GROUND) == 1300 * 300 * 4 * 2
    with RasterReader(write_raster(tmp_path / "b.tif", image[:3], nodata=0)) as reader:
        assert image_bytes(reader, GROUND) == 1300 * 300 * (3 + 1)
    assert mask_bytes(GROUND) == 1300 * 300 * 2
    assert mask_bytes(GROUND, scale=4) == 1300 * 300 * 2 * 16


def test_a_copied_mask_may_be_finer_than_its_grid(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (400, 480), dtype=np.uint8)
    path = write_raster(tmp_path / "m.tif", mask)
    with RasterReader(path) as reader:
        fine = reader.grid
    grid = replace(fine, width=120, height=100, transform=fine.transform @ Affine.scale(4))
    ground = Window(col_off=10, row_off=20, width=70, height=50)
    truth = MaskTruth(path, native=grid, grid=grid)
    copy, building_px = copy_mask(truth, grid, ground, scale=4)
    inside = Window(col_off=15, row_off=30, width=60, height=30)
    drawn = copy.draw(inside, out_shape=(120, 240))
    assert np.array_equal(drawn.building, mask[120:240, 60:300] > 0) and drawn.known.all()
    assert building_px == mask[80:280, 40:320].sum()
    copy.close()
    truth.close()
