"""What is known without reading: empty blocks, and blocks beyond the end of the file."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from buildmap.errors import InputError
from buildmap.raster.coverage import Blocks, Boxes, survey
from tests.scenes import ORIGIN, UTM, write_raster


def sparse(path: Path, **options: object) -> Path:
    """Write a raster of 8 x 8 blocks of which only the one at (2, 5) is stored."""
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": 1, "dtype": "uint8"}
    profile |= {"tiled": True, "blockxsize": 16, "blockysize": 16, "sparse_ok": True}
    with rasterio.open(path, "w", **profile, **options, crs=UTM, transform=ORIGIN) as dataset:
        dataset.write(np.ones((1, 16, 16), np.uint8), window=Window(80, 32, 16, 16))
    return path


def test_blocks_that_are_not_stored_are_empty_where_they_read_as_invalid(tmp_path: Path) -> None:
    with rasterio.open(sparse(tmp_path / "a.tif", nodata=0)) as dataset:
        coverage = survey(dataset, "a")
    assert isinstance(coverage, Blocks)
    assert np.argwhere(coverage.stored).tolist() == [[2, 5]]
    assert coverage.touches(47, 0, 48, 81)
    assert not coverage.touches(48, 0, 200, 200)
    assert not coverage.touches(-20, -20, 32, 200)


@pytest.mark.parametrize("options", [{}, {"nodata": 300.0}, {"nodata": None}])
def test_blocks_that_read_as_zeros_with_a_meaning_are_data(
    tmp_path: Path, options: dict[str, float | None]
) -> None:
    path = sparse(tmp_path / "a.tif")
    if options.get("nodata"):
        path = write_raster(tmp_path / "b.tif", np.zeros((8, 8), np.uint16), nodata=300)
    with rasterio.open(path) as dataset:
        assert survey(dataset, "a") is None


def test_a_mask_of_its_own_says_nothing_about_blocks(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        mask = np.zeros((128, 128), np.bool_)
        mask[100:] = True  # valid zeros, in blocks that are not stored
        dataset.write_mask(mask)
    with rasterio.open(path) as dataset:
        assert survey(dataset, "a") is None


def test_a_block_of_a_later_band_beyond_the_end_is_found(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 128), np.uint8)
    path = write_raster(
        tmp_path / "a.tif", pixels, tiled=True, blockxsize=64, blockysize=64, interleave="band"
    )
    path.write_bytes(path.read_bytes()[:-3000])
    with rasterio.open(path) as dataset, pytest.raises(InputError, match=r"truncated: block \(1, 1\)"):
        survey(dataset, "a")


def test_boxes_touch_what_overlaps_them() -> None:
    boxes = Boxes(boxes=np.array([[0.0, 0, 10, 10], [20, 5, 30, 8]]))
    assert boxes.touches(9, 9, 12, 12)
    assert not boxes.touches(10, 0, 20, 99)
    assert boxes.touches(25, -5, 26, 6)
