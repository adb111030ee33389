import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform_bounds
from shapely import Point
from shapely.geometry import Polygon

from buildmap.data.copies import MemoryRaster
from buildmap.data.missing import Dropped
from buildmap.data.sources import TrainingSource, open_sources
from buildmap.errors import InputError, MissingInput
from buildmap.preset import Preset, Source
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
    truths = [source.annotations.draw(source.grid.window, out_shape=(160, 200)) for source in sources]
    for source in sources:
        source.close()
    assert [bool(truth.building.any()) for truth in truths] == [True, False]
    assert all(source.ground.train for source in sources) and truths[1].known.all()


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


def _coco(path: Path, images: dict[str, list[Window]], height: int = 160, width: int = 200) -> None:
    """Write the houses of images as COCO JSON."""
    listed = [{"id": n, "file_name": name, "width": width, "height": height} for n, name in enumerate(images)]
    drawn = [
        {"image_id": n, "segmentation": [list(map(float, np.array(polygon.exterior.coords)[:-1].ravel()))]}
        for n, windows in enumerate(images.values())
        for polygon in to_polygons(windows, Affine.identity())
    ]
    path.write_text(json.dumps({"images": listed, "annotations": [*drawn, {"image_id": 0}]}))


def _dropping(*listed: Source, share: float = 0.5, seed: int = 0) -> Preset:
    preset = make_preset(*listed, seed=seed)
    return replace(preset, training=replace(preset.training, drop_annotations=share))


def _building(source: TrainingSource, window: Window | None = None) -> np.ndarray:
    window = window or source.grid.window
    return source.read(window, out_shape=(window.height, window.width)).building


def test_coco_annotations_lie_on_rasters_and_on_pictures_to_the_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    windows = {name: houses(rng, 160, 200) for name in ("a.tif", "b.png")}
    masks = {name: to_mask(found, 160, 200) for name, found in windows.items()}
    (tmp_path / "images").mkdir()
    write_raster(tmp_path / "images" / "a.tif", np.stack([masks["a.tif"] * np.uint8(200)] * 3))
    write_picture(tmp_path / "images" / "b.png", np.stack([masks["b.png"] * np.uint8(200)] * 3))
    _coco(tmp_path / "annotations.json", {f"images/{name}": found for name, found in windows.items()})
    sources = open_sources(tmp_path, make_preset())
    drawn = [_building(source) for source in sources]
    for source in sources:
        source.close()
    assert [source.footprints for source in sources] == [30, 30]
    assert sources[0].repairs is not None and sources[0].repairs.null == 1
    assert np.array_equal(drawn[0], masks["a.tif"] > 0)
    assert np.array_equal(drawn[1], masks["b.png"] > 0)


def test_an_image_that_coco_does_not_know_is_named_among_all_problems(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_pair(tmp_path, stem)
    _coco(tmp_path / "x.json", {"c.tif": []})
    listed = Source(image="images/*.tif", annotations="x.json", use="train")
    with pytest.raises(
        InputError, match=r"3 inputs(.|\n)*says nothing of a\.tif(.|\n)*says nothing of b\.tif"
    ) as caught:
        open_sources(tmp_path, make_preset(listed, Source(image="y/*", annotations="x.json", use="train")))
    assert "nothing fits y/*" in str(caught.value)


def test_geojson_may_end_in_json(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a")
    layer = gpd.read_file(tmp_path / "labels" / "a.gpkg").to_crs("EPSG:4326")
    (tmp_path / "labels" / "a.gpkg").unlink()
    (tmp_path / "labels" / "a.json").write_text(layer.to_json())
    (source,) = open_sources(tmp_path, make_preset())
    building = _building(source)
    source.close()
    assert np.array_equal(building, mask > 0)


@pytest.mark.parametrize("memory_bytes", [0, 2**24])
def test_rasters_of_other_bands_and_types_are_read_as_the_model_expects(
    tmp_path: Path, memory_bytes: int
) -> None:
    rng = np.random.default_rng(0)
    write_pair(tmp_path, "rgb")
    eight = rng.integers(0, 3000, (8, 160, 200), dtype=np.uint16)
    eight[:, 30:40] = 0
    pan = rng.integers(0, 2048, (160, 200), dtype=np.uint16)
    (tmp_path / "labels" / "rgb.gpkg").rename(tmp_path / "labels" / "all.gpkg")
    write_raster(
        tmp_path / "images" / "eight.tif", eight, nodata=0, transform=ORIGIN @ Affine.translation(500, 0)
    )
    write_raster(tmp_path / "images" / "pan.tif", pan, transform=ORIGIN @ Affine.translation(900, 0))
    listed = [
        Source(
            image=f"images/{stem}.tif",
            annotations="labels/all.gpkg",
            use="train",
            bands=bands,
            value_range=limits,
        )
        for stem, bands, limits in (
            ("rgb", None, None),
            ("eight", (5, 3, 2), (0.0, 2000.0)),
            ("pan", (1, 1, 1), (0.0, 2047.0)),
        )
    ]
    sources = open_sources(tmp_path, make_preset(*listed), memory_bytes=memory_bytes)
    images = [source.read(source.grid.window, out_shape=(160, 200)).image for source in sources]
    for source in sources:
        source.close()
    assert [(image.pixels.shape, image.pixels.dtype.name) for image in images] == [
        ((3, 160, 200), "uint8")
    ] * 3
    assert [source.all_valid for source in sources] == [True, False, True]
    valid = (eight > 0).any(axis=0)
    valid[30:40] = False
    assert not images[1].valid[30:40].any()
    expected = np.rint(np.minimum(eight[[4, 2, 1]] / 2000, 1) * 255)
    assert np.array_equal(images[1].pixels[:, images[1].valid], expected[:, images[1].valid])
    assert images[1].valid.mean() > 0.9
    assert np.array_equal(images[2].pixels, np.broadcast_to(np.rint(pan / 2047 * 255), (3, 160, 200)))


def test_a_raster_read_in_too_few_bands_or_another_type_says_what_to_write(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    with pytest.raises(InputError, match=r"read as 1 bands \[1\], the preset expects 3") as caught:
        open_sources(tmp_path, make_preset(replace(_list("a"), bands=(1,))))
    assert caught.value.hint is not None and "[1, 1, 1]" in caught.value.hint
    write_raster(tmp_path / "images" / "a.tif", np.zeros((3, 160, 200), np.uint16))
    with pytest.raises(InputError, match="uint16, the preset expects uint8") as caught:
        open_sources(tmp_path, make_preset(_list("a")))
    assert caught.value.hint is not None and "value_range" in caught.value.hint


@pytest.mark.parametrize("kind", ["footprints", "mask"])
@pytest.mark.parametrize("memory_bytes", [0, 2**24])
def test_buildings_are_dropped_from_training_ground_and_from_no_other(
    tmp_path: Path, kind: str, memory_bytes: int
) -> None:
    mask = write_pair(tmp_path, "a")
    if kind == "mask":
        (tmp_path / "labels" / "a.gpkg").unlink()
        write_raster(tmp_path / "labels" / "a.tif", mask)
    (source,) = open_sources(tmp_path, _dropping(), memory_bytes=memory_bytes)
    drawn, valid = _building(source), source.read(source.grid.window, out_shape=mask.shape).valid
    (kept,), (train,) = source.ground.validation, source.ground.train
    parts = {name: _building(source, window) for name, window in (("kept", kept), ("train", train))}
    source.close()
    cut = {
        name: mask[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] > 0
        for name, w in (("kept", kept), ("train", train))
    }
    assert valid.all()
    assert np.array_equal(parts["kept"], cut["kept"])
    assert (parts["train"] <= cut["train"]).all()
    assert 0.1 < parts["train"].sum() / cut["train"].sum() < 0.9
    assert parts["train"].sum() + parts["kept"].sum() == drawn.sum()
    assert source.dropped is not None
    assert 0 < source.dropped.buildings < source.dropped.of <= 30


def test_dropping_is_by_seed_and_says_how_many(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")

    def drop(share: float, seed: int = 0, use: str = "train") -> tuple[np.ndarray, Dropped | None]:
        (source,) = open_sources(tmp_path, _dropping(_list("a", use), share=share, seed=seed))
        drawn = _building(source)
        source.close()
        return drawn, source.dropped

    whole, none = drop(0)
    some, counted = drop(0.3)
    most, _ = drop(0.9)
    assert none is None
    assert counted is not None and counted.of == 30 and 0 < counted.buildings < 20
    assert (most <= some).all() and (some <= whole).all()
    assert most.sum() < some.sum() < whole.sum()
    assert np.array_equal(some, drop(0.3)[0])
    assert not np.array_equal(some, drop(0.3, seed=1)[0])
    kept, untouched = drop(0.9, use="validation")
    assert np.array_equal(kept, whole)
    assert untouched is None


def test_the_same_buildings_are_dropped_from_all_rasters_that_show_them(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a")
    write_raster(
        tmp_path / "images" / "b.tif",
        np.zeros((3, 320, 400), np.uint8),
        transform=ORIGIN @ Affine.scale(0.5),
    )
    listed = Source(image="images/*.tif", annotations="labels/a.gpkg", use="train")
    preset = _dropping(listed)
    fine = replace(preset, data=replace(preset.data, gsd_min_m=0.2))
    sources = open_sources(tmp_path, fine)
    one, other = (_building(source) for source in sources)
    for source in sources:
        source.close()
    assert np.array_equal(one.repeat(2, 0).repeat(2, 1), other)
    assert sources[0].dropped == sources[1].dropped
    assert 0 < one.sum() < (mask > 0).sum()


def _zooms(root: Path) -> None:
    """Write the same ground at three GSDs and in two CRS, and one layer of its footprints."""
    rng = np.random.default_rng(0)
    windows = houses(rng, 300, 400, 60)
    (root / "images").mkdir()
    for factor in (1, 2, 4):
        shape = (3, 300 * factor, 400 * factor)
        transform = ORIGIN @ Affine.scale(1 / factor)
        write_raster(root / "images" / f"z{factor}.tif", np.full(shape, 9, np.uint8), transform=transform)
    left, bottom, right, top = transform_bounds(UTM, "EPSG:3857", *(ORIGIN @ (0, 300)), *(ORIGIN @ (400, 0)))
    mercator = Affine((right - left) / 500, 0, left, 0, (bottom - top) / 400, top)
    write_raster(
        root / "images" / "m.tif", np.full((3, 400, 500), 9, np.uint8), transform=mercator, crs="EPSG:3857"
    )
    write_layer(root / "all.gpkg", list(to_polygons(windows)))


NATIVE = replace(PLAIN, gsd_min_m=0.05, gsd_max_m=2.0)


def test_the_same_ground_at_other_gsds_and_crs_is_split_alike(tmp_path: Path) -> None:
    _zooms(tmp_path)
    listed = Source(image="images/*.tif", annotations="all.gpkg", use="split")
    for seed in range(4):
        sources = open_sources(tmp_path, make_preset(listed, data=NATIVE, seed=seed))
        for source in sources:
            source.close()
        shares = []
        for source in sources:
            train, kept = (
                sum(w.width * w.height for w in part) / (source.grid.width * source.grid.height)
                for part in (source.ground.train, source.ground.validation)
            )
            shares.append(kept)
            assert train + kept > 0.6
            assert 0.05 < kept < 0.5
        assert shares[1:] == pytest.approx([shares[1]] * 3, abs=1e-9)


@pytest.mark.parametrize(("one", "other"), [("z1", "z4"), ("m", "z1"), ("z2", "m")])
@pytest.mark.parametrize("use", ["validation", "split"])
def test_training_ground_that_another_raster_keeps_for_validation_is_refused(
    tmp_path: Path, one: str, other: str, use: str
) -> None:
    _zooms(tmp_path)
    listed = (
        Source(image=f"images/{one}.tif", annotations="all.gpkg", use="train"),
        Source(image=f"images/{other}.tif", annotations="all.gpkg", use=use),
    )
    with pytest.raises(InputError) as caught:
        open_sources(tmp_path, make_preset(*listed, data=NATIVE))
    found = re.search(
        rf"images/{one}\.tif for training and images/{other}\.tif .* share ([\d,]+) m2", str(caught.value)
    )
    assert found is not None
    area_m2 = float(found[1].replace(",", ""))
    assert area_m2 == pytest.approx(200 * 150, rel=0.01) if use == "validation" else area_m2 > 2000
    assert caught.value.hint is not None and "window_px" in caught.value.hint


def test_neighbours_on_the_ground_may_have_different_uses(tmp_path: Path) -> None:
    _zooms(tmp_path)
    listed = (
        Source(image="images/z1.tif", annotations="all.gpkg", use="train", window_px=(0, 0, 200, 300)),
        Source(
            image="images/z4.tif", annotations="all.gpkg", use="validation", window_px=(800, 0, 800, 1200)
        ),
    )
    sources = open_sources(tmp_path, make_preset(*listed, data=NATIVE))
    for source in sources:
        source.close()
    assert [bool(source.ground.train) for source in sources] == [True, False]


def test_of_very_many_leaks_only_some_are_named(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    for number in range(15):
        shutil.copy(tmp_path / "images" / "a.tif", tmp_path / "images" / f"copy{number}.tif")
    listed = (
        _list("a", "validation"),
        Source(image="images/copy*.tif", annotations="labels/a.gpkg", use="train"),
    )
    with pytest.raises(InputError, match="and 3 more that share ground"):
        open_sources(tmp_path, make_preset(*listed))
