"""Sources are values: they travel, and tell apart what they read."""

import io
import pickle
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.shutil import copy

from buildmap.errors import InputError
from buildmap.raster.source import Source, read_names
from tests.scenes import ORIGIN, UTM, write_raster

RNG = np.random.default_rng(0)


def two(folder: Path) -> tuple[str, str]:
    """Write two rasters side by side, with a gap of 10 columns between them."""
    names = []
    for number in range(2):
        place = ORIGIN @ Affine.translation(50 * number, 0)
        pixels = RNG.integers(1, 255, (3, 30, 40), np.uint8)
        names.append(str(write_raster(folder / f"{number}.tif", pixels, transform=place)))
    return names[0], names[1]


def index_of(path: Path, names: tuple[str, ...]) -> Path:
    """Write a tile index of the rasters of `two`."""
    left, top = ORIGIN @ (0, 0)
    boxes = [shapely.box(left + 25 * n, top - 15, left + 25 * n + 20, top) for n in range(len(names))]
    pyogrio.raw.write(
        str(path),
        shapely.to_wkb(np.array(boxes)),
        [np.array(names, object)],
        ["location"],
        geometry_type="Polygon",
        crs=UTM,
        driver="GPKG",
    )
    return path


def test_a_source_travels_and_reads_the_same(tmp_path: Path) -> None:
    bbox = (400_005, 0, 400_030, 6e6)
    source = Source(rasters=two(tmp_path), bands=(3, 1), gsd_range_m=(0.7, 0.7), bbox=bbox)
    with source.open() as reader, pickle.loads(pickle.dumps(source)).open() as again:
        image, other = reader.read(reader.grid.window), again.read(again.grid.window)
        assert reader.name == f"{source.rasters[0]} and 1 more"
    np.testing.assert_array_equal(image.pixels, other.pixels)
    assert image.pixels.shape == (2, 21, 36)


@pytest.mark.parametrize("form", ["{}", "GTI:{}", "xml"])
def test_a_tile_index_is_a_mosaic_and_empty_between_its_rasters(tmp_path: Path, form: str) -> None:
    names = two(tmp_path)
    index = index_of(tmp_path / "index.gti.gpkg", names)
    if form == "xml":
        tags = f"<IndexDataset>{index}</IndexDataset><LocationField>location</LocationField>"
        (tmp_path / "index.gti").write_text(f"<GDALTileIndexDataset>{tags}</GDALTileIndexDataset>")
        index, form = tmp_path / "index.gti", "{}"
    with Source(rasters=(form.format(index),)).open() as reader, Source(rasters=names).open() as expected:
        image, wanted = reader.read(reader.grid.window), expected.read(expected.grid.window)
    np.testing.assert_array_equal(image.valid, wanted.valid)
    np.testing.assert_array_equal(image.pixels, wanted.pixels)
    assert not image.valid[:, 40:50].any()


@pytest.mark.parametrize("form", ["several", "vrt", "index"])
def test_the_fingerprint_is_of_every_file_that_is_read(tmp_path: Path, form: str) -> None:
    names = two(tmp_path)
    if form == "vrt":
        copy(names[1], tmp_path / "a.vrt", driver="VRT")
    rasters = {
        "several": names,
        "vrt": (str(tmp_path / "a.vrt"),),
        "index": (str(index_of(tmp_path / "index.gti.gpkg", names)),),
    }[form]
    before = Source(rasters=rasters).fingerprint()
    assert Source(rasters=rasters).fingerprint() == before
    assert Source(rasters=rasters, bands=(1,)).fingerprint() != before
    place = ORIGIN @ Affine.translation(50, 0)
    write_raster(Path(names[1]), np.zeros((3, 30, 40), np.uint8), transform=place)
    assert Source(rasters=rasters).fingerprint() != before


def test_what_is_no_file_is_known_by_its_header(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", RNG.integers(0, 255, (64, 64), np.uint8), compress="deflate")
    inside = Source(rasters=(f"/vsisubfile/0_{path.stat().st_size},{path}",))
    before = inside.fingerprint()
    assert inside.fingerprint() == before
    write_raster(path, RNG.integers(0, 99, (64, 64), np.uint8), compress="deflate")
    inside = Source(rasters=(f"/vsisubfile/0_{path.stat().st_size},{path}",))
    assert inside.fingerprint() != before


def test_a_list_of_names_has_comments_and_blank_lines() -> None:
    text = "# tiles of March\n\na b.tif\n  /vsis3/bucket//key.tif \n#c.tif\n"
    assert read_names(io.StringIO(text)) == ("a b.tif", "/vsis3/bucket//key.tif")


def test_a_source_without_rasters_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs a raster"):
        Source(rasters=())


def test_all_that_is_wrong_is_told_at_opening(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 rasters cannot be used"):
        Source(rasters=(*two(tmp_path), str(tmp_path / "c"), str(tmp_path / "d"))).open()
