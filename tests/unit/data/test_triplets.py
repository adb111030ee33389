from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from buildmap.data.dataset import Batch, Chips
from buildmap.data.split import overlap
from buildmap.data.triplets import Triplets
from buildmap.errors import InputError, MissingInput
from buildmap.preset import Augment, Preset, Source
from buildmap.preset.maps import MapLayer, MapRule, MapStyle
from buildmap.raster.blend import enlarge
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, write_layer, write_raster
from tests.unit.data.material import (
    ELSEWHERE,
    LIVELY,
    PLAIN,
    STILL,
    houses,
    make_preset,
    to_mask,
    to_polygons,
    write_picture,
)

SCALE = 4
ROWS, COLS = 96, 128
COARSE = ORIGIN @ Affine.scale(SCALE)
TWO_M = replace(PLAIN, gsd_min_m=2.0, gsd_max_m=2.0)
STYLE = MapStyle(rules=(MapRule(name="building", color=(240, 0, 0)),), background=(0, 0, 240))
HOUSES = MapLayer(path="maps/houses.gpkg", shows="building")
TRIPLETS = Triplets(scale=SCALE, maps=(HOUSES,), style=STYLE)


def _write(root: Path, stem: str = "a", *, transform: Affine = COARSE, as_mask: bool = False) -> np.ndarray:
    """Write an image whose pixels are 240 times their share of building, its truth 4 times finer, and a map.

    Returns:
        (rows * 4, cols * 4) the true mask.
    """
    windows = houses(np.random.default_rng(ord(stem)), ROWS * SCALE, COLS * SCALE, 250)
    mask = to_mask(windows, ROWS * SCALE, COLS * SCALE)
    fine = transform @ Affine.scale(1 / SCALE)
    polygons = to_polygons(windows, fine)
    for folder in ("images", "labels", "maps"):
        (root / folder).mkdir(exist_ok=True)
    share = mask.reshape(ROWS, SCALE, COLS, SCALE).mean(axis=(1, 3))
    gray = np.rint(share * 240).astype(np.uint8)
    write_raster(root / "images" / f"{stem}.tif", np.stack([gray] * 3), transform=transform)
    if as_mask:
        write_raster(root / "labels" / f"{stem}.tif", mask, transform=fine)
    else:
        write_layer(root / "labels" / f"{stem}.gpkg", list(polygons))
    write_layer(root / "maps" / "houses.gpkg", [shapely.union_all(polygons)])
    return mask


def _preset(augment: Augment = STILL, **options: object) -> Preset:
    return make_preset(data=TWO_M, augment=augment, **options)


def _shares(cells: NDArray[np.floating]) -> NDArray[np.floating]:
    """Average (B, rows * 4, cols * 4) to (B, rows, cols)."""
    batch, rows, cols = cells.shape
    return cells.reshape(batch, rows // SCALE, SCALE, cols // SCALE, SCALE).mean(axis=(2, 4))


def _assert_aligned(batch: Batch) -> None:
    """See that image, picture and mask show one thing, to the bit."""
    assert batch.picture is not None
    red, green, blue = np.moveaxis(batch.picture, 1, 0) * 255 / 240
    np.testing.assert_allclose(red, batch.target * batch.valid, atol=1e-6)
    np.testing.assert_allclose(blue, (1 - batch.target) * batch.valid, atol=1e-6)
    assert not green.any()
    np.testing.assert_allclose(batch.image[:, 0] * 255 / 240, _shares(batch.target), atol=0.5 / 240 + 1e-6)


@pytest.mark.parametrize("as_mask", [False, True])
@pytest.mark.parametrize("memory_bytes", [0, 2**30])
def test_image_picture_and_mask_show_the_same_ground_after_all_turning(
    tmp_path: Path, as_mask: bool, memory_bytes: int
) -> None:
    _write(tmp_path, as_mask=as_mask)
    turning = replace(STILL, flip=0.5, quarter_turns=True)
    with Chips(tmp_path, _preset(turning), triplets=TRIPLETS, memory_bytes=memory_bytes) as chips:
        batches = [chips.training_batch(step) for step in range(3)]
        validation = list(chips.validation_batches())
    for batch in batches:
        assert batch.image.shape == (4, 3, 32, 32)
        assert batch.target.shape == batch.valid.shape == (4, 128, 128)
        assert batch.picture is not None and batch.picture.shape == (4, 3, 128, 128)
        assert (batch.target.dtype, batch.valid.dtype, batch.picture.dtype) == (
            np.float32,
            np.bool_,
            np.float32,
        )
        _assert_aligned(batch)
    assert 0.1 < np.mean([batch.target.mean() for batch in batches]) < 0.9
    assert validation
    for batch in validation:
        shown = replace(batch, valid=np.ones_like(batch.valid))
        _assert_aligned(shown)


def test_edges_between_pixels_lie_where_they_are_to_the_thousandth_of_a_pixel(tmp_path: Path) -> None:
    _write(tmp_path)
    left, top, right, bottom = 9 + 63 / 512, 5 + 131 / 512, 12 + 447 / 512, 8 + 1 / 512
    write_layer(
        tmp_path / "maps" / "houses.gpkg", [shapely.box(*COARSE @ (left, top), *COARSE @ (right, bottom))]
    )
    finest = replace(TRIPLETS, scale=16, style=replace(STYLE, samples=32))
    kept, learned = (
        Source(image="images/a.tif", annotations="labels/a.gpkg", use=use, window_px=window_px)
        for use, window_px in (("validation", (8, 4, 6, 5)), ("train", (64, 40, 64, 56)))
    )
    preset = replace(_preset(validation_chip_px=6), sources=(kept, learned))
    with Chips(tmp_path, preset, triplets=finest) as chips:
        (batch,) = chips.validation_batches()
    assert batch.picture is not None and batch.picture.shape == (1, 3, 96, 96)
    red = batch.picture[0, 0] * 255 / 240
    for side, begin, end, offset in ((red.max(axis=0), left, right, 8), (red.max(axis=1), top, bottom, 4)):
        first, last = np.flatnonzero(side)[[0, -1]]
        assert offset + (first + 1 - side[first]) / 16 == pytest.approx(begin, abs=0.001)
        assert offset + (last + side[last]) / 16 == pytest.approx(end, abs=0.001)


def test_the_target_and_the_picture_follow_the_image_to_other_gsds(tmp_path: Path) -> None:
    _write(tmp_path)
    wide = replace(TWO_M, gsd_max_m=3.0)
    preset = make_preset(data=wide, augment=replace(LIVELY, brightness=0, contrast=0, color=0), batch_size=8)
    with Chips(tmp_path, preset, triplets=TRIPLETS) as chips:
        batch = chips.training_batch(0)
    assert batch.picture is not None and len(set(batch.places[:, 3].tolist())) > 3
    share, red = _shares(batch.target), _shares(batch.picture[:, 0] * 255 / 240)
    assert np.abs(red - share).max() < 0.3, "a mask's pixel is building or not"
    assert abs((red - share).mean()) < 0.002
    assert np.abs(batch.image[:, 0] * 255 / 240 - share).mean() < 0.04
    assert np.corrcoef(batch.image[:, 0].ravel(), red.ravel())[0, 1] > 0.97, "0.6 where it is off by a pixel"


def test_without_maps_there_are_no_pictures_and_with_a_scale_of_one_all_is_as_before(tmp_path: Path) -> None:
    _write(tmp_path)
    with Chips(tmp_path, _preset(LIVELY)) as chips:
        plain = chips.training_batch(1)
    with Chips(tmp_path, _preset(LIVELY), triplets=replace(TRIPLETS, scale=1)) as chips:
        drawn = chips.training_batch(1)
    with Chips(tmp_path, _preset(LIVELY), triplets=Triplets(scale=SCALE)) as chips:
        finer = chips.training_batch(1)
    assert plain.picture is None and finer.picture is None
    assert drawn.picture is not None and drawn.picture.shape == (4, 3, 32, 32)
    for batch in (drawn, finer):
        assert np.array_equal(batch.image, plain.image)
        assert np.array_equal(batch.places, plain.places)
    assert np.array_equal(drawn.target, plain.target)
    assert finer.target.shape == (4, 128, 128)


def test_a_mask_keeps_its_detail_in_memory(tmp_path: Path) -> None:
    mask = _write(tmp_path, as_mask=True)
    source = Source(image="images/a.tif", annotations="labels/a.tif", use="train")
    preset = replace(_preset(), sources=(source,))
    with Chips(tmp_path, preset, triplets=Triplets(scale=SCALE)) as chips:
        batch = chips.training_batch(0)
    for target, (_, col, row, width, height) in zip(batch.target, batch.places.tolist(), strict=True):
        there = mask[row * SCALE : (row + height) * SCALE, col * SCALE : (col + width) * SCALE]
        np.testing.assert_array_equal(target, there)


def test_what_is_not_valid_in_the_image_does_not_count_in_the_mask(tmp_path: Path) -> None:
    _write(tmp_path)
    path = tmp_path / "images" / "a.tif"
    with rasterio.open(path) as dataset:
        pixels = np.maximum(dataset.read(), 1)
    pixels[:, :, 50:75] = 0
    write_raster(path, pixels, transform=COARSE, nodata=0)
    source = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    turning = replace(STILL, flip=0.5, quarter_turns=True)
    with Chips(tmp_path, replace(_preset(turning), sources=(source,)), triplets=TRIPLETS) as chips:
        batches = [chips.training_batch(step) for step in range(4)]
    for batch in batches:
        for valid, image in zip(batch.valid, batch.image, strict=True):
            np.testing.assert_array_equal(valid, enlarge(image[0] > 0, SCALE))
    assert 0 < np.mean([batch.valid.mean() for batch in batches]) < 1


@pytest.mark.parametrize("stems", ["a", "ab"])
def test_ground_is_shared_between_training_validation_and_test(tmp_path: Path, stems: str) -> None:
    for number, stem in enumerate(stems):  # the second shares half of the ground of the first
        _write(tmp_path, stem, transform=COARSE @ Affine.translation(COLS // 2 * number, 0))
    kept = Triplets(scale=SCALE, maps=(HOUSES,), style=STYLE, test_share=0.1)
    preset = _preset(chip_px=4, validation_share=0.1, batch_size=20)
    with Chips(tmp_path, preset, triplets=kept) as chips:
        grounds = [source.ground for source in chips.sources]
        summaries = chips.summaries
        counts = [
            sum(int(batch.valid.sum()) for batch in batches) / SCALE**2
            for batches in (chips.validation_batches(), chips.test_batches())
        ]
        learned = np.concatenate([chips.training_batch(step).places for step in range(20)])
    with Chips(tmp_path, preset, triplets=replace(kept, test_share=0.0)) as chips:
        assert [source.ground.validation for source in chips.sources] == [g.validation for g in grounds]
        assert list(chips.test_batches()) == []
    for ground in grounds:
        assert not any(overlap(one, other) for one in ground.train for other in ground.kept)
        assert not any(overlap(one, other) for one in ground.validation for other in ground.test)
    if stems == "a":
        areas = [
            sum(w.width * w.height for w in windows)
            for windows in (grounds[0].train, grounds[0].validation, grounds[0].test)
        ]
        np.testing.assert_allclose(np.divide(areas, ROWS * COLS), [0.8, 0.1, 0.1], atol=0.03)
    assert counts[0] == pytest.approx(sum(s.validation_chips for s in summaries) * 16)
    assert counts[1] == pytest.approx(sum(s.test_chips for s in summaries) * 16)
    assert counts[1] > 0
    for _, col, row, width, height in learned.tolist():
        chip = Window(col_off=col, row_off=row, width=width, height=height)
        assert any(
            window.col_off <= col and col + width <= window.col_off + window.width and overlap(chip, window)
            for ground in grounds
            for window in ground.train
        )


def test_maps_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(MissingInput, match=r"none.gpkg does not exist"):
        Chips(tmp_path, _preset(), triplets=replace(TRIPLETS, maps=(MapLayer(path="none.gpkg"),)))
    write_layer(
        tmp_path / "maps" / "houses.gpkg", to_polygons(houses(np.random.default_rng(0), 90, 90), ELSEWHERE)
    )
    with pytest.raises(InputError, match=r"nothing of the maps maps/houses.gpkg lies on the ground"):
        Chips(tmp_path, _preset(), triplets=TRIPLETS)


def test_a_picture_without_a_place_cannot_have_a_map(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "images" / "a.tif").unlink()
    (tmp_path / "labels" / "a.gpkg").unlink()
    gray = np.random.default_rng(0).integers(1, 255, (3, 64, 64), dtype=np.uint8)
    write_picture(tmp_path / "images" / "a.png", gray)
    write_picture(tmp_path / "labels" / "a.png", (gray[0] > 99).astype(np.uint8))
    with pytest.raises(InputError, match="images/a has no CRS or no transform"):
        Chips(tmp_path, _preset(), triplets=TRIPLETS)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"scale": 0}, "scale 0"), ({"test_share": 1.0}, "test_share 1.0")]
)
def test_triplets_that_make_no_sense_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Triplets(**wrong)
