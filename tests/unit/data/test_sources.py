from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely import Point
from shapely.geometry import Polygon

from buildmap.data.copies import MemoryRaster
from buildmap.data.sources import open_sources
from buildmap.errors import InputError, MissingInput
from buildmap.preset import Source
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM, write_layer, write_raster
from tests.unit.data.material import (
    PLAIN,
    houses,
    make_preset,
    to_mask,
    to_polygons,
    write_pair,
    write_picture,
)

PART = Window(col_off=40, row_off=30, width=64, height=48)


def _list(stem: str, use: str = "train", window_px: tuple[int, ...] | None = None) -> Source:
    return Source(image=f"images/{stem}.tif", annotations=f"labels/{stem}.gpkg", use=use, window_px=window_px)


def test_footprints_lie_on_their_raster_to_the_pixel(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a")
    (source,) = open_sources(tmp_path, make_preset())
    sample = source.read(PART, out_shape=(48, 64))
    source.close()
    assert np.array_equal(sample.building, mask[30:78, 40:104] > 0)
    assert sample.valid.all()
    assert sample.image.pixels[0][sample.building].min() > sample.image.pixels[0][~sample.building].max()


def test_footprints_in_another_crs_lie_on_their_raster_to_the_pixel(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a")
    layer = gpd.read_file(tmp_path / "labels" / "a.gpkg")
    (tmp_path / "labels" / "a.gpkg").unlink()
    layer.to_crs("EPSG:4326").to_file(tmp_path / "labels" / "a.geojson")
    (source,) = open_sources(tmp_path, make_preset())
    building = source.read(source.grid.window, out_shape=mask.shape).building
    source.close()
    assert np.array_equal(building, mask > 0)


def test_a_source_larger_than_the_memory_left_reads_the_same_from_disk(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    mask = write_pair(tmp_path, "b", seed=1)
    (tmp_path / "labels" / "b.gpkg").unlink()
    write_raster(tmp_path / "labels" / "b.tif", mask)
    samples = []
    for memory_bytes, kind in ((2**20, MemoryRaster), (0, RasterReader)):
        sources = open_sources(tmp_path, make_preset(), memory_bytes=memory_bytes)
        assert all(isinstance(source.pixels, kind) for source in sources)
        samples.append([source.read(PART, out_shape=(48, 64)) for source in sources])
        for source in sources:
            source.close()
    for copied, streamed in zip(*samples, strict=True):
        assert np.array_equal(copied.image.pixels, streamed.image.pixels)
        assert np.array_equal(copied.building, streamed.building)
        assert np.array_equal(copied.valid, streamed.valid)


def test_memory_is_given_to_sources_until_it_is_used_up(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_pair(tmp_path, stem)
    one_copy_bytes = 160 * 200 * 3
    sources = open_sources(tmp_path, make_preset(), memory_bytes=2 * one_copy_bytes - 1)
    kinds = [type(source.pixels) for source in sources]
    for source in sources:
        source.close()
    assert kinds == [MemoryRaster, RasterReader]


def test_all_bad_inputs_are_named_at_once(tmp_path: Path) -> None:
    for stem in ("good", "wide", "text", "alone"):
        write_pair(tmp_path, stem)
    write_raster(tmp_path / "images" / "wide.tif", np.zeros((3, 160, 200), np.uint16))
    (tmp_path / "images" / "text.tif").write_text("no raster")
    listed = [
        _list("good"),
        _list("wide"),
        _list("text"),
        _list("missing"),
        _list("alone", window_px=(0, 0, 999, 9)),
    ]
    with pytest.raises(InputError) as caught:
        open_sources(tmp_path, make_preset(*listed))
    message = str(caught.value)
    assert "4 inputs cannot be used" in message
    assert "images/wide.tif is uint16, the preset expects uint8" in message
    assert "text.tif cannot be read as a raster" in message
    assert "missing.tif does not exist" in message
    assert "window_px [0, 0, 999, 9] is not inside its 200 x 160 pixels" in message
    assert "good" not in message
    assert caught.value.exit_code == 65


def test_inputs_that_are_all_missing_say_so_by_their_exit_code(tmp_path: Path) -> None:
    tmp_path.joinpath("images").mkdir()
    with pytest.raises(MissingInput, match=r"2 inputs.*\n.*a\.tif does not exist\n.*b\.tif does not exist"):
        open_sources(tmp_path, make_preset(_list("a"), _list("b")))


def test_a_raster_with_too_few_bands_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    five = replace(PLAIN, bands=(1, 2, 5))
    with pytest.raises(InputError, match="has 3 bands, not band 5"):
        open_sources(tmp_path, make_preset(data=five))


def test_footprints_for_a_raster_without_crs_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    write_raster(tmp_path / "images" / "a.tif", np.zeros((3, 160, 200), np.uint8), crs=None)
    with pytest.raises(InputError, match="has no CRS") as caught:
        open_sources(tmp_path, make_preset())
    assert caught.value.hint is not None and "gdal_translate -a_srs" in caught.value.hint


def test_pictures_without_georeferencing_are_used_pixel_by_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = to_mask(houses(rng, 160, 200), 160, 200)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    write_picture(tmp_path / "images" / "a.png", np.stack([mask * np.uint8(200)] * 3))
    write_picture(tmp_path / "labels" / "a.png", mask * np.uint8(255))
    for memory_bytes in (0, 2**20):
        (source,) = open_sources(tmp_path, make_preset(), memory_bytes=memory_bytes)
        sample = source.read(PART, out_shape=(48, 64))
        source.close()
        assert source.gsd_m is None
        assert np.array_equal(sample.building, mask[30:78, 40:104] > 0)
        assert np.array_equal(sample.building, sample.image.pixels[0] == 200)


def test_what_was_repaired_and_dropped_is_counted(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    good = to_polygons([Window(col_off=10, row_off=10, width=10, height=10)])
    bowtie = Polygon([ORIGIN @ corner for corner in ((50, 50), (60, 60), (60, 50), (50, 60))])
    outside = to_polygons([Window(col_off=9000, row_off=10, width=10, height=10)])
    path = tmp_path / "labels" / "a.gpkg"
    path.unlink()
    write_layer(path, [*good, bowtie, *outside, Point(ORIGIN @ (5, 5)), None])
    (source,) = open_sources(tmp_path, make_preset())
    source.close()
    assert source.footprints == 3
    assert source.repairs is not None
    assert (source.repairs.mended, source.repairs.not_polygonal) == (1, 1)


@pytest.mark.parametrize("kind", ["vector elsewhere", "empty mask"])
def test_no_building_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    write_pair(tmp_path, "a")
    label = tmp_path / "labels" / "a.gpkg"
    label.unlink()
    if kind == "empty mask":
        write_raster(label.with_suffix(".tif"), np.zeros((160, 200), np.uint8))
    else:
        write_layer(label, list(to_polygons([Window(col_off=9000, row_off=0, width=5, height=5)])))
    with pytest.raises(InputError, match="no annotation shows a building"):
        open_sources(tmp_path, make_preset())


def test_one_raster_without_buildings_is_ground_to_learn_from(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    (tmp_path / "labels" / "b.gpkg").unlink()
    write_raster(tmp_path / "labels" / "b.tif", np.zeros((160, 200), np.uint8))
    sources = open_sources(tmp_path, make_preset())
    for source in sources:
        source.close()
    assert [source.has_buildings for source in sources] == [True, False]


def test_the_parts_of_a_raster_keep_to_their_use(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    listed = (_list("a", "train", (0, 0, 200, 100)), _list("a", "validation", (0, 100, 200, 60)))
    sources = open_sources(tmp_path, make_preset(*listed))
    for source in sources:
        source.close()
    train, validation = (source.ground for source in sources)
    assert train.train == (Window(col_off=0, row_off=0, width=200, height=100),)
    assert validation.validation == (Window(col_off=0, row_off=100, width=200, height=60),)
    assert train.validation == validation.train == ()


def test_ground_that_is_listed_for_both_uses_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    listed = (_list("a", "train", (0, 0, 200, 101)), _list("a", "validation", (0, 100, 200, 60)))
    with pytest.raises(
        InputError, match=r"\[0, 0, 200, 101\] for train and \[0, 100, 200, 60\] for validation"
    ):
        open_sources(tmp_path, make_preset(*listed))


def test_a_fine_raster_is_worked_on_at_the_finest_gsd_of_the_preset(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a")
    coarse = replace(PLAIN, gsd_min_m=1.0, gsd_max_m=2.0)
    (source,) = open_sources(tmp_path, make_preset(data=coarse))
    source.close()
    assert source.gsd_m == pytest.approx(1.0, rel=0.01)
    assert (source.grid.height, source.grid.width) == pytest.approx(
        (mask.shape[0] / 2, mask.shape[1] / 2), abs=1
    )
    assert source.grid.crs is not None and source.grid.crs.to_string() == UTM
