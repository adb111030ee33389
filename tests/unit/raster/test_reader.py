"""Reading: what is valid, what is resampled, and what is refused before any work."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.windows import Window as FloatWindow

from buildmap.errors import InputError, MissingInput
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_raster

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


KINDS = ("plain", "float", "nodata", "alpha", "overviews", "overviews nodata")


def raster_of_kind(path: Path, kind: str) -> Path:
    """Write an odd-sized raster that is invalid in places where its kind allows."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(1, 255, (4 if kind == "alpha" else 2, 301, 407), np.uint8)
    holes = rng.random((301, 407)) < 0.2
    options: dict[str, object] = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    if "nodata" in kind:
        pixels[:, holes] = 0
        options["nodata"] = 0
    if kind == "alpha":
        pixels[3] = np.where(holes, 0, 255)
        options |= {"photometric": "RGB", "alpha": "yes"}
    write_raster(path, pixels.astype(np.float32) if kind == "float" else pixels, **options)
    if "overviews" in kind:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4], Resampling.average)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixel_is_the_same_through_any_window_at_any_gsd(tmp_path: Path, kind: str) -> None:
    path, rng = raster_of_kind(tmp_path / "a.tif", kind), np.random.default_rng(1)
    for gsd_m in [*rng.uniform(0.2, 0.49, 3), *rng.uniform(0.51, 4, 9), 1.0, 2.0]:
        with RasterReader(path, gsd_range_m=(gsd_m, gsd_m)) as reader:
            whole, grid = reader.read(reader.grid.window), reader.grid
            for _ in range(4):
                col, row = int(rng.integers(grid.width - 4)), int(rng.integers(grid.height - 4))
                width, height = (
                    int(rng.integers(1, grid.width - col)),
                    int(rng.integers(1, grid.height - row)),
                )
                part = reader.read(window(col, row, width, height))
                cut = np.s_[row : row + height, col : col + width]
                np.testing.assert_array_equal(part.pixels, whole.pixels[:, *cut])
                np.testing.assert_array_equal(part.valid, whole.valid[cut])


def test_parts_in_memory_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raster_of_kind(tmp_path / "a.tif", "nodata")
    with RasterReader(path, gsd_range_m=(1.7, 1.7)) as reader:
        whole = reader.read(reader.grid.window)
        monkeypatch.setattr("buildmap.raster.resample._PART_PX", 5000)
        parts = reader.read(reader.grid.window)
    np.testing.assert_array_equal(parts.pixels, whole.pixels)
    np.testing.assert_array_equal(parts.valid, whole.valid)


def test_coarser_pixels_are_read_from_an_overview_no_coarser_than_they_are(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((1, 256, 256), 10, np.uint8), tiled=True)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    for overview, value in ((0, 20), (1, 40)):  # marks that tell where a pixel comes from
        with rasterio.open(path, "r+", OVERVIEW_LEVEL=overview) as dataset:
            dataset.write(np.full((1, *dataset.shape), value, np.uint8))
    seen = {}
    for gsd_m in (0.7, 1.0, 1.9, 2.0, 3.3):
        with RasterReader(path, gsd_range_m=(gsd_m, gsd_m)) as reader:
            seen[gsd_m] = int(reader.read(window(1, 1, 5, 5)).pixels.mean())
    assert seen == {0.7: 10, 1.0: 20, 1.9: 20, 2.0: 40, 3.3: 40}


@pytest.mark.parametrize("gsd_m", [0.5, 0.83, 2.0])
def test_a_box_gives_the_same_pixels_of_a_smaller_grid(tmp_path: Path, gsd_m: float) -> None:
    path = raster_of_kind(tmp_path / "a.tif", "nodata")
    bbox = (400_031.1, 4_999_901.3, 400_090.7, 4_999_970.0)
    with (
        RasterReader(path, gsd_range_m=(gsd_m, gsd_m)) as whole,
        RasterReader(path, gsd_range_m=(gsd_m, gsd_m), bbox=bbox) as part,
    ):
        left, bottom, right, top = part.grid.bounds
        pixel = whole.grid.transform.a
        assert left <= bbox[0] < left + pixel
        assert right - pixel < bbox[2] <= right
        col, row = ~whole.grid.transform @ (left, top)
        place = window(round(col), round(row), part.grid.width, part.grid.height)
        expected, image = whole.read(place), part.read(part.grid.window)
        assert part.native_grid.bounds[0] <= left + 1e-6
        assert part.native_grid.bounds[2] >= right - 1e-6
        assert bottom == pytest.approx(whole.grid.part(place).bounds[1])
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    np.testing.assert_array_equal(image.valid, expected.valid)


def test_a_box_beside_the_raster_is_refused_with_both_extents(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(
        InputError, match=r"a\.tif: .*\(0, 0, 1, 1\) and \(400000, 4999996, 400004, 5000000\)"
    ):
        RasterReader(path, bbox=(0, 0, 1, 1))


@pytest.mark.parametrize("gsd_m", [0.31, 0.5, 1.1, 2.3])
@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_no_window_with_a_valid_pixel_is_called_empty(tmp_path: Path, gsd_m: float, interleave: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        path = tmp_path / f"{seed}.tif"
        colors = {"photometric": "RGB", "alpha": "yes"}
        options: dict[str, object] = {"nodata": 0, "photometric": "MINISBLACK"} if seed % 2 else colors
        profile = {"driver": "GTiff", "width": 400, "height": 333, "count": 4, "dtype": "uint8"}
        profile |= {"tiled": True, "blockxsize": 32, "blockysize": 32, "sparse_ok": True}
        with rasterio.open(
            path, "w", **profile, **options, interleave=interleave, crs=UTM, transform=ORIGIN
        ) as dataset:
            for _ in range(3):
                place = FloatWindow(int(rng.integers(0, 360)), int(rng.integers(0, 300)), 30, 20)
                dataset.write(np.full((4, 20, 30), 200, np.uint8), window=place)
        if seed > 1:
            with rasterio.open(path, "r+") as dataset:
                dataset.build_overviews([2, 4], Resampling.cubic)
        with RasterReader(path, gsd_range_m=(gsd_m, gsd_m)) as reader:
            valid, empty = reader.read(reader.grid.window).valid, 0
            for _ in range(200):
                col, row = int(rng.integers(reader.grid.width - 9)), int(rng.integers(reader.grid.height - 9))
                part = window(col, row, int(rng.integers(1, 9)), int(rng.integers(1, 9)))
                if not reader.has_data(part):
                    empty += 1
                    assert not valid[row : row + part.height, col : col + part.width].any()
        assert empty > 50


def test_a_dead_network_is_told_as_such_and_a_url_is_not_folded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/a\.tif cannot be read"):
        RasterReader("http://127.0.0.1:9/a.tif")
    with RasterReader(str(write_raster(tmp_path / "a.tif", np.zeros((8, 8), np.uint8)))) as reader:
        assert reader.name == str(tmp_path / "a.tif")
        assert reader.path == tmp_path / "a.tif"
