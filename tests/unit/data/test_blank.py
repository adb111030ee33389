from pathlib import Path

import numpy as np

from buildmap.data.blank import BlankReader
from buildmap.data.sources import open_sources
from buildmap.preset import Source
from buildmap.raster.reader import RasterReader
from tests.scenes import ORIGIN, write_raster
from tests.unit.data.material import make_preset, write_pair

RNG = np.random.default_rng(0)


def test_pixels_of_the_value_in_every_band_are_not_valid(tmp_path: Path) -> None:
    pixels = RNG.choice(np.array([7, 255], np.uint8), (3, 20, 30))
    path = write_raster(tmp_path / "a.tif", pixels)
    reader = RasterReader(path)
    blank = BlankReader(reader, nodata=255)
    image = blank.read(reader.grid.window)
    assert np.array_equal(image.pixels, pixels)
    assert np.array_equal(image.valid, (pixels == 7).any(axis=0))
    assert (blank.grid, blank.bands, blank.dtype) == (reader.grid, (1, 2, 3), np.uint8)
    assert not blank.all_valid
    blank.close()


def test_what_the_raster_itself_calls_no_data_stays_so(tmp_path: Path) -> None:
    pixels = np.array([[[0, 255, 3]]], np.uint8)
    blank = BlankReader(RasterReader(write_raster(tmp_path / "a.tif", pixels, nodata=0)), nodata=255)
    assert blank.read(blank.grid.window).valid.tolist() == [[False, False, True]]
    blank.close()


def test_a_source_says_so_and_its_blank_ground_does_not_count(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=64, width=96)
    image = np.full((3, 64, 96), 10, np.uint8)
    image[:, :, 32:] = 255
    write_raster(tmp_path / "images" / "a.tif", image, transform=ORIGIN)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train", nodata=255)
    (source,) = open_sources(tmp_path, make_preset(listed))
    sample = source.read(source.grid.window, out_shape=(64, 96))
    assert not source.all_valid
    assert np.array_equal(sample.valid, np.broadcast_to(np.arange(96) < 32, (64, 96)))
    source.close()


def test_values_are_compared_before_they_are_rescaled(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=64, width=96)
    image = np.full((3, 64, 96), 500, np.uint16)
    image[:, :, 32:] = 2000
    write_raster(tmp_path / "images" / "a.tif", image, transform=ORIGIN)
    listed = Source(
        image="images/a.tif", annotations="labels/a.gpkg", use="train", nodata=2000, value_range=(0, 1000)
    )
    (source,) = open_sources(tmp_path, make_preset(listed))
    sample = source.read(source.grid.window, out_shape=(64, 96))
    assert np.array_equal(sample.valid, np.broadcast_to(np.arange(96) < 32, (64, 96)))
    assert set(sample.image.pixels[:, sample.valid].ravel().tolist()) == {128}
    source.close()
