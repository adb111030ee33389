"""A folder as users have it: other suffixes, other CRS, gaps, masks and layers side by side."""

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine

from buildmap.data.dataset import Chips
from buildmap.execution.prefetch import prefetch
from tests.scenes import houses_image, write_layer, write_raster
from tests.unit.data.material import LIVELY, PLAIN, houses, make_preset, to_mask, to_polygons, write_picture

SIDE = 256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    windows = {stem: houses(rng, SIDE, SIDE, 60) for stem in ("degrees", "fine", "gaps", "picture", "mask")}
    masks = {stem: to_mask(rectangles, SIDE, SIDE) for stem, rectangles in windows.items()}
    images = {stem: houses_image(mask, rng) for stem, mask in masks.items()}
    images["gaps"][:, :100, :120] = 0

    layer = gpd.GeoDataFrame(geometry=list(to_polygons(windows["degrees"])), crs="EPSG:32633")
    layer.to_crs("EPSG:4326").to_file(tmp_path / "labels" / "degrees.geojson")
    write_raster(tmp_path / "images" / "degrees.tif", images["degrees"])

    fine = Affine(0.125, 0, 4e5, 0, -0.125, 5e6)
    write_raster(tmp_path / "images" / "fine.tif", images["fine"].repeat(4, 1).repeat(4, 2), transform=fine)
    write_layer(tmp_path / "labels" / "fine.fgb", list(to_polygons(windows["fine"])))

    write_raster(tmp_path / "images" / "gaps.tif", images["gaps"], nodata=0)
    write_layer(tmp_path / "labels" / "gaps.gpkg", list(to_polygons(windows["gaps"])))

    write_picture(tmp_path / "images" / "picture.png", images["picture"])
    write_picture(tmp_path / "labels" / "picture.png", masks["picture"] * np.uint8(255))

    write_raster(tmp_path / "images" / "mask.tif", images["mask"])
    quarter = Affine(0.25, 0, 4e5, 0, -0.25, 5e6)
    write_raster(tmp_path / "labels" / "mask.tif", masks["mask"].repeat(2, 0).repeat(2, 1), transform=quarter)
    return tmp_path


def test_every_source_gives_chips_in_which_roofs_are_bright_and_targets_lie_on_them(folder: Path) -> None:
    # The working GSD of 0.5 m in UTM is 0.50014 m on the ground: the fine raster is averaged by 4.001.
    with Chips(folder, make_preset(data=replace(PLAIN, gsd_min_m=0.5, gsd_max_m=0.6))) as chips:
        batches = list(chips.validation_batches())
        train = [chips.training_batch(step) for step in range(30)]
    stems = {f"images/{stem}" for stem in ("degrees", "fine", "gaps", "picture", "mask")}
    assert {name for batch in batches for name in batch.names} == stems
    assert {name for batch in train for name in batch.names} == stems
    for batch in batches + train:
        bright = batch.image.mean(axis=1) > 120 / 255
        agree = bright == (batch.target > 0)
        for name, agrees, counts in zip(batch.names, agree, batch.valid, strict=True):
            assert agrees[counts].mean() > (0.95 if name == "images/fine" else 0.985), name


def test_reading_ahead_gives_what_reading_in_turn_gives(folder: Path) -> None:
    with Chips(folder, make_preset(augment=LIVELY)) as chips:
        ahead = list(prefetch(chips.training_batch, range(8), workers=2, ahead=4))
        for step, batch in enumerate(ahead):
            again = chips.training_batch(step)
            assert np.array_equal(batch.image, again.image)
            assert np.array_equal(batch.target, again.target)


def test_streaming_from_disk_gives_what_copies_in_memory_give(folder: Path) -> None:
    own_grid = make_preset(data=replace(PLAIN, gsd_min_m=0.1, gsd_max_m=0.6))
    with Chips(folder, own_grid) as copied, Chips(folder, own_grid, memory_bytes=0) as streamed:
        for step in range(4):
            one, other = copied.training_batch(step), streamed.training_batch(step)
            assert np.array_equal(one.valid, other.valid)
            assert np.abs(one.image - other.image).max() <= 1.01 / 255
            assert (one.target != other.target).mean() < 0.01
