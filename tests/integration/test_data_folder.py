"""A folder as users have it: other suffixes, other CRS, gaps, masks and layers side by side."""

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine

from buildmap.data.dataset import Chips
from buildmap.execution.prefetch import prefetch
from buildmap.preset import Source
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, houses_image, write_layer, write_raster
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


def _coco(path: Path, drawn: dict[str, list[Window]]) -> None:
    """Write houses as COCO JSON: as rings, and every third as a run-length mask."""
    annotations: list[dict[str, object]] = []
    for name, windows in drawn.items():
        for number, window in enumerate(windows):
            ring = np.array(to_polygons([window], Affine.identity())[0].exterior.coords)[:-1].ravel()
            pixels = to_mask([window], SIDE, SIDE).ravel(order="F").astype(np.int8)
            changes = np.flatnonzero(np.diff(pixels, prepend=np.int8(0)))
            runs = np.diff(np.concatenate([[0], changes, [SIDE * SIDE]]))
            mask = {"size": [SIDE, SIDE], "counts": runs.tolist()}
            annotations.append({"image_id": name, "segmentation": [ring.tolist()] if number % 3 else mask})
    images = [{"id": name, "file_name": name} for name in drawn]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


@pytest.fixture
def sensors(tmp_path: Path) -> tuple[Path, tuple[Source, ...]]:
    """Write three sensors' rasters, annotated in one COCO file."""
    rng = np.random.default_rng(0)
    windows = {f"{stem}.tif": houses(rng, SIDE, SIDE, 60) for stem in ("rgb", "eight", "pan")}
    rgb, eight, pan = (houses_image(to_mask(found, SIDE, SIDE), rng) for found in windows.values())
    write_raster(tmp_path / "rgb.tif", rgb)
    far = [ORIGIN @ Affine.translation(shift, 0) for shift in (1000, 2000)]
    write_raster(
        tmp_path / "eight.tif", eight[[0, 0, 0, 1, 1, 1, 2, 2]].astype(np.uint16) * 8, transform=far[0]
    )
    write_raster(tmp_path / "pan.tif", pan[:1].astype(np.float32) / 100, transform=far[1])
    _coco(tmp_path / "annotations.json", windows)
    listed = tuple(
        Source(
            image=f"{stem}.tif", annotations="annotations.json", use="split", bands=bands, value_range=limits
        )
        for stem, bands, limits in (
            ("rgb", None, None),
            ("eight", (7, 4, 1), (0.0, 2040.0)),
            ("pan", (1, 1, 1), (0.0, 2.55)),
        )
    )
    return tmp_path, listed


@pytest.mark.parametrize("memory_bytes", [0, 2**26])
def test_sensors_of_other_bands_and_types_give_chips_alike(
    sensors: tuple[Path, tuple[Source, ...]], memory_bytes: int
) -> None:
    root, listed = sensors
    with Chips(root, make_preset(*listed), memory_bytes=memory_bytes) as chips:
        batches = [*chips.validation_batches(), *(chips.training_batch(step) for step in range(10))]
    assert {name for batch in batches for name in batch.names} == {"rgb", "eight", "pan"}
    for batch in batches:
        assert batch.image.shape[1] == 3
        agree = (batch.image.mean(axis=1) > 120 / 255) == (batch.target > 0)
        assert agree[batch.valid].mean() > 0.985


def test_with_buildings_dropped_the_image_and_the_validation_stay_as_they_were(
    sensors: tuple[Path, tuple[Source, ...]],
) -> None:
    root, listed = sensors
    whole = make_preset(*listed)
    thinned = replace(whole, training=replace(whole.training, drop_annotations=0.5))
    with Chips(root, whole) as before, Chips(root, thinned) as after:
        for one, other in zip(before.validation_batches(), after.validation_batches(), strict=True):
            assert np.array_equal(one.target, other.target)
        buildings = np.zeros(2)
        for step in range(20):
            one, other = before.training_batch(step), after.training_batch(step)
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.valid, other.valid)
            assert (other.target <= one.target).all()
            buildings += one.target.sum(), other.target.sum()
    assert 0.3 < buildings[1] / buildings[0] < 0.7
