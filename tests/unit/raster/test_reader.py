"""Reading: what is valid, what is resampled, and what is refused before any work."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy

from buildmap.errors import InputError, MissingInput
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, write_raster

RNG = np.random.default_rng(0)


def window(col: int, row: int, width: int, height: int) -> Window:
    return Window(col_off=col, row_off=row, width=width, height=height)


def test_bands_come_in_the_order_asked_for(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (4, 20, 30), np.uint8)
    with RasterReader(write_raster(tmp_path / "a.tif", pixels), bands=(3, 1)) as reader:
        image = reader.read(window(5, 2, 10, 8))
    np.testing.assert_array_equal(image.pixels, pixels[[2, 0], 2:10, 5:15])
    assert image.valid.all()


def test_nodata_is_not_valid(tmp_path: Path) -> None:
    pixels = RNG.integers(1, 255, (1, 20, 30), np.uint8)
    pixels[0, 5:9, 3:7] = 0
    with RasterReader(write_raster(tmp_path / "a.tif", pixels, nodata=0)) as reader:
        image = reader.read(reader.grid.window)
    np.testing.assert_array_equal(image.valid, pixels[0] != 0)


def test_nan_and_infinity_are_not_valid(tmp_path: Path) -> None:
    pixels = RNG.random((2, 20, 30), np.float32)
    pixels[0, 3, 4], pixels[1, 5, 6] = np.nan, np.inf
    with RasterReader(write_raster(tmp_path / "a.tif", pixels)) as reader:
        valid = reader.read(reader.grid.window).valid
    assert not valid[3, 4]
    assert not valid[5, 6]
    assert valid.sum() == 20 * 30 - 2


def test_alpha_is_validity_and_not_a_band(tmp_path: Path) -> None:
    pixels = RNG.integers(1, 255, (4, 20, 30), np.uint8)
    pixels[3] = 255
    pixels[3, :5] = 0
    path = write_raster(tmp_path / "a.tif", pixels, photometric="RGB", alpha="yes")
    with RasterReader(path) as reader:
        image = reader.read(reader.grid.window)
    assert reader.bands == (1, 2, 3)
    assert not image.valid[:5].any()
    assert image.valid[5:].all()


def test_coarser_pixels_are_means_and_windows_agree_with_the_whole(tmp_path: Path) -> None:
    pixels = RNG.random((1, 96, 120), np.float32)
    path = write_raster(tmp_path / "a.tif", pixels)
    with RasterReader(path, gsd_range_m=(0.998, 1.002)) as reader:
        assert (reader.grid.width, reader.grid.height) == (60, 48)
        whole = reader.read(reader.grid.window).pixels
        part = reader.read(window(7, 5, 20, 11)).pixels
    np.testing.assert_allclose(whole[0], pixels[0].reshape(48, 2, 60, 2).mean((1, 3)), rtol=1e-5)
    np.testing.assert_array_equal(part, whole[:, 5:16, 7:27])


def test_windows_agree_with_the_whole_also_at_odd_factors_and_upwards(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (1, 130, 170), np.uint8)
    path = write_raster(tmp_path / "a.tif", pixels)
    for gsd_m in (0.23, 0.71, 1.9):
        with RasterReader(path, gsd_range_m=(gsd_m, gsd_m)) as reader:
            whole = reader.read(reader.grid.window).pixels
            part = reader.read(window(9, 4, 30, 25)).pixels
        np.testing.assert_array_equal(part, whole[:, 4:29, 9:39])


def test_nodata_does_not_bleed_into_coarser_pixels(tmp_path: Path) -> None:
    pixels = np.full((1, 64, 64), 100, np.uint8)
    pixels[0, :, :31] = 0
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    with RasterReader(path, gsd_range_m=(1.0, 1.0)) as reader:
        image = reader.read(reader.grid.window)
    assert (image.pixels[0][image.valid] == 100).all()


def test_threads_read_the_same(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (3, 300, 200), np.uint8)
    path = write_raster(
        tmp_path / "a.tif", pixels, tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    rows = [window(0, row, 200, 20) for row in range(0, 300, 20)]
    with RasterReader(path) as reader, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda w: reader.read(w).pixels, rows))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), pixels)


def test_missing_folder_empty_and_text_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("hello, I am not a raster at all")
    for name, error, message in [
        ("none.tif", MissingInput, "does not exist"),
        (".", InputError, "is a folder"),
        ("empty.tif", InputError, "0 bytes"),
        ("text.tif", InputError, "cannot be read as a raster"),
    ]:
        with pytest.raises(error, match=message):
            RasterReader(tmp_path / name)


def test_a_vrt_is_a_vrt_only_by_its_name(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", RNG.integers(0, 255, (1, 8, 8), np.uint8))
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    with RasterReader(tmp_path / "a.vrt") as reader:
        assert reader.grid.width == 8
    (tmp_path / "a.vrt").rename(tmp_path / "b.tif")
    with pytest.raises(InputError, match="VRT under another name"):
        RasterReader(tmp_path / "b.tif")


def test_a_truncated_tiff_is_found_at_once(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif",
        RNG.integers(0, 255, (1, 512, 512), np.uint8),
        tiled=True,
        blockxsize=128,
        blockysize=128,
        compress="deflate",
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"truncated|cannot be read"):
        RasterReader(path)


def test_an_absurd_block_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=65536,
        height=65536,
        count=1,
        dtype="uint8",
        tiled=True,
        blockxsize=65536,
        blockysize=32768,
        sparse_ok=True,
        transform=ORIGIN,
    ):
        pass
    with pytest.raises(InputError, match="blocks of 65536 x 32768"):
        RasterReader(path)


def test_an_absent_band_is_named(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match="has 3 bands, not band 7"):
        RasterReader(path, bands=(1, 7))


def test_pixels_without_area_are_refused(tmp_path: Path) -> None:
    flat = write_raster(
        tmp_path / "a.tif", np.zeros((4, 4), np.uint8), transform=Affine(0, 0, 4e5, 0, 0, 5e6)
    )
    with pytest.raises(InputError, match="pixels without area"):
        RasterReader(flat)
