"""Buildings one by one in batches: those of the target, wherever they come from and however chips turn."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.data.dataset import Batch, Chips
from buildmap.data.objects import LEAST_PX, LEAST_SIDE_PX, ChipObjects
from buildmap.data.triplets import Triplets
from buildmap.preset import Instances, Model, Preset, Sampling, Source
from tests.scenes import houses_image, write_layer, write_raster
from tests.unit.data.material import LIVELY, STILL, houses, make_preset, to_mask, to_polygons

ROWS, COLS = 160, 200
TURNING = replace(STILL, flip=0.5, quarter_turns=True)
HOUSES = houses(np.random.default_rng(3), ROWS, COLS)
MASK = to_mask(HOUSES, ROWS, COLS)


def one_by_one(preset: Preset) -> Preset:
    return replace(preset, model=Model(name="mask-rcnn", instances=Instances()))


def write(root: Path, *, as_mask: bool, mask: NDArray[np.uint8] = MASK, nodata: int | None = None) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    write_raster(root / "images" / "a.tif", houses_image(MASK, np.random.default_rng(0)))
    if as_mask:
        write_raster(root / "labels" / "a.tif", mask, nodata=nodata)
    else:
        write_layer(root / "labels" / "a.gpkg", list(to_polygons(HOUSES)))


def large(target: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out components that are too small."""
    labels, _ = ndimage.label(target)
    kept = np.zeros_like(target)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        piece = labels[place] == number
        kept[place] |= piece & (piece.sum() >= LEAST_PX and min(piece.shape) >= LEAST_SIDE_PX)
    return kept


def objects(batch: Batch) -> tuple[ChipObjects, ...]:
    assert batch.objects is not None and len(batch.objects) == len(batch.names)
    return batch.objects


def same(one: ChipObjects, other: ChipObjects) -> bool:
    return (
        np.array_equal(one.boxes, other.boxes)
        and np.array_equal(one.draw_masks(), other.draw_masks())
        and all(np.array_equal(a, b) for a, b in zip(one.vertices, other.vertices, strict=True))
    )


def test_networks_of_masks_get_no_objects(tmp_path: Path) -> None:
    write(tmp_path, as_mask=False)
    with Chips(tmp_path, make_preset()) as chips:
        assert chips.training_batch(0).objects is None
        assert next(chips.validation_batches()).objects is None


@pytest.mark.parametrize("memory_bytes", [0, 2**30])
@pytest.mark.parametrize("as_mask", [False, True])
def test_all_masks_of_a_chip_are_its_target_after_all_augmentation(
    tmp_path: Path, as_mask: bool, memory_bytes: int
) -> None:
    write(tmp_path, as_mask=as_mask)
    preset = one_by_one(make_preset(augment=TURNING, batch_size=8))
    count = 0
    with Chips(tmp_path, preset, memory_bytes=memory_bytes) as chips:
        batches = [*(chips.training_batch(step) for step in range(3)), *chips.validation_batches()]
    for batch in batches:
        for found, target in zip(objects(batch), batch.target > 0, strict=True):
            drawn = found.draw_masks().any(axis=0)
            assert not (drawn & ~target).any()
            assert np.array_equal(large(drawn), large(target))
            for mask, box, vertices in zip(found.draw_masks(), found.boxes, found.vertices, strict=True):
                rows, cols = np.nonzero(mask)
                around = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(box, around, atol=1e-3)
                inside = (vertices > 0).all(axis=1) & (vertices < 32).all(axis=1)
                assert inside.all()
                if not as_mask:  # a rectangle's corners are those of its box
                    corners = {(x, y) for x in box[[0, 2]] for y in box[[1, 3]]}
                    assert {(x, y) for x, y in np.rint(vertices)} <= corners
                count += 1
    assert count > 30


def test_overlapping_footprints_are_apart_and_have_four_corners_each(tmp_path: Path) -> None:
    write(tmp_path, as_mask=False)
    whole = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    with Chips(tmp_path, one_by_one(make_preset(whole, chip_px=200, batch_size=1))) as chips:
        (found,) = objects(chips.training_batch(0))
    assert len(found) == len(HOUSES)
    assert sorted(map(tuple, np.rint(found.boxes).astype(int).tolist())) == sorted(
        (w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height) for w in HOUSES
    )
    assert (
        found.draw_masks().sum()
        == sum(w.width * w.height for w in HOUSES)
        > found.draw_masks().any(axis=0).sum()
    )
    assert all(len(some) == 4 or 0 in box[:2] for some, box in zip(found.vertices, found.boxes, strict=True))


@pytest.mark.parametrize("as_mask", [False, True])
def test_objects_are_the_same_in_any_part_order_and_thread(tmp_path: Path, as_mask: bool) -> None:
    write(tmp_path, as_mask=as_mask)
    preset = one_by_one(make_preset(augment=LIVELY, batch_size=6, sampling=Sampling(building_share=0.7)))
    with Chips(tmp_path, preset) as chips, ThreadPoolExecutor(4) as pool:
        whole = [objects(chips.training_batch(step)) for step in range(3)]
        for parts in (2, 3):
            calls = [(step, part) for step in (2, 0, 1) for part in range(parts)]
            made = pool.map(lambda call: objects(chips.training_part(*call, parts)), calls)  # noqa: B023
            for (step, part), found in zip(calls, made, strict=True):
                expected = whole[step][part::parts]
                assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert sum(len(one) for batch in whole for one in batch) > 20


@pytest.mark.parametrize("as_mask", [False, True])
def test_dropped_buildings_are_no_objects_where_one_learns_and_are_where_one_judges(
    tmp_path: Path, as_mask: bool
) -> None:
    write(tmp_path, as_mask=as_mask)
    preset = one_by_one(make_preset(augment=TURNING, batch_size=8))
    thinned = replace(preset, training=replace(preset.training, drop_annotations=0.5))
    with Chips(tmp_path, preset) as all_of_them, Chips(tmp_path, thinned) as chips:
        assert chips.sources[0].dropped is not None and 5 < chips.sources[0].dropped.buildings < 25
        for step in range(3):
            batch, before = chips.training_batch(step), all_of_them.training_batch(step)
            for found, target, full in zip(objects(batch), batch.target > 0, before.target > 0, strict=True):
                assert np.array_equal(large(found.draw_masks().any(axis=0)), large(target))
                assert not (target & ~full).any()
        learned = [sum(map(len, objects(c.training_batch(0)))) for c in (chips, all_of_them)]
        judged = [
            sum(len(one) for batch in c.validation_batches() for one in objects(batch))
            for c in (chips, all_of_them)
        ]
    assert 0 < learned[0] < learned[1]
    assert judged[0] == judged[1] > 0


def test_where_nothing_is_annotated_the_image_is_blank_and_has_no_objects(tmp_path: Path) -> None:
    unknown = MASK.copy()
    unknown[:, 90:] = 255
    write(tmp_path, as_mask=True, mask=unknown, nodata=255)
    preset = one_by_one(make_preset(augment=LIVELY, batch_size=8))
    with Chips(tmp_path, preset) as chips:
        batches = [*(chips.training_batch(step) for step in range(3)), *chips.validation_batches()]
    partly = 0
    for batch in batches:
        for image, valid, found in zip(batch.image, batch.valid, objects(batch), strict=True):
            assert not found.draw_masks()[:, ~image.any(axis=0)].any()
            assert image[:, valid].any(axis=0).all()
            if len(batch.places):
                assert not image[:, ~valid].any()
                assert not found.draw_masks()[:, ~valid].any()
                partly += 0 < valid.mean() < 1
    assert partly > 3


def test_without_objects_the_image_is_shown_where_nothing_is_annotated(tmp_path: Path) -> None:
    unknown = MASK.copy()
    unknown[:, 90:] = 255
    write(tmp_path, as_mask=True, mask=unknown, nodata=255)
    with Chips(tmp_path, make_preset(batch_size=8)) as chips:
        batch = chips.training_batch(0)
    assert not batch.valid.all()
    assert batch.image.any(axis=1).all()


def test_what_a_neighbour_owns_of_a_validation_chip_has_objects_and_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, as_mask=False)
    ground = Source(image="images/a.tif", annotations="labels/a.gpkg", use="validation")
    other = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train", window_px=(0, 0, 40, 160))
    rest = replace(ground, window_px=(40, 0, 160, 160))
    with Chips(tmp_path, one_by_one(make_preset(other, rest, chip_px=96, batch_size=1))) as chips:
        batches = list(chips.validation_batches())
    shared = [batch for batch in batches if not batch.valid.all()]
    assert len(batches) == 4 and len(shared) == 3
    for batch in shared:
        (found,) = objects(batch)
        assert (found.draw_masks().any(axis=0) & ~batch.valid[0]).any()
        assert np.array_equal(large(found.draw_masks().any(axis=0)), large(batch.target[0] > 0))
        assert batch.image[0].any(axis=0).all()


def test_objects_of_small_ground_lie_in_the_part_that_is_not_padding(tmp_path: Path) -> None:
    write(tmp_path, as_mask=False)
    with Chips(tmp_path, one_by_one(make_preset(chip_px=256, batch_size=1, validation_share=0))) as chips:
        batch = chips.training_batch(0)
    (found,) = objects(batch)
    assert found.draw_masks().shape[1:] == (256, 256)
    assert len(found) > 20
    assert np.array_equal(large(found.draw_masks().any(axis=0)), large(batch.target[0] > 0))
    assert found.boxes.max() <= COLS


def test_objects_on_finer_masks_are_refused(tmp_path: Path) -> None:
    write(tmp_path, as_mask=False)
    with pytest.raises(ValueError, match="scale of 2"):
        Chips(tmp_path, one_by_one(make_preset()), triplets=Triplets(scale=2))
