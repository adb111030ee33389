from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as FloatWindow

from buildmap.data.copies import MemoryRaster
from buildmap.data.dataset import Batch, Chips
from buildmap.errors import InputError
from buildmap.preset import Preset, Sampling, Source
from buildmap.raster.windows import Window
from tests.scenes import houses_image, write_layer, write_raster
from tests.unit.data.material import (
    ELSEWHERE,
    LIVELY,
    PLAIN,
    STILL,
    make_preset,
    to_mask,
    to_polygons,
    write_pair,
)

OPEN_FILES = Path("/proc/self/fd")


def _same(one: Batch, other: Batch) -> bool:
    return (
        np.array_equal(one.image, other.image)
        and np.array_equal(one.target, other.target)
        and np.array_equal(one.valid, other.valid)
        and one.names == other.names
        and np.array_equal(one.places, other.places)
    )


def _rewrite(root: Path, change: Callable[[np.ndarray], np.ndarray], **options: object) -> np.ndarray:
    """Replace the picture of the pair `a` by one made from it."""
    path = root / "images" / "a.tif"
    with rasterio.open(path) as dataset:
        pixels = change(dataset.read())
    write_raster(path, pixels, **options)
    return pixels


def test_a_batch_has_the_shapes_and_types_of_its_contract(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    with Chips(tmp_path, make_preset(augment=LIVELY)) as chips:
        batch = chips.training_batch(0)
    assert (batch.image.shape, batch.image.dtype) == ((4, 3, 32, 32), np.float32)
    assert (batch.target.shape, batch.target.dtype) == ((4, 32, 32), np.float32)
    assert (batch.valid.shape, batch.valid.dtype) == ((4, 32, 32), np.bool_)
    assert set(np.unique(batch.target)) <= {0, 1}
    assert batch.names == ("images/a",) * 4


def test_a_step_gives_the_same_batch_in_any_order_thread_and_run(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_pair(tmp_path, stem, seed=ord(stem))
    preset = make_preset(augment=LIVELY)
    with Chips(tmp_path, preset) as chips:
        first = [chips.training_batch(step) for step in range(4)]
    with Chips(tmp_path, preset) as chips, ThreadPoolExecutor(4) as pool:
        again = list(pool.map(chips.training_batch, [3, 2, 1, 0]))[::-1]
    assert all(_same(one, other) for one, other in zip(first, again, strict=True))


def test_steps_and_seeds_differ(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    with Chips(tmp_path, make_preset()) as chips, Chips(tmp_path, make_preset(seed=1)) as other:
        assert not _same(chips.training_batch(0), chips.training_batch(1))
        assert not _same(chips.training_batch(0), other.training_batch(0))


def test_the_target_is_what_the_image_shows_after_all_augmentation(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    moving = replace(STILL, flip=0.5, quarter_turns=True)
    with Chips(tmp_path, make_preset(augment=moving)) as chips:
        batches = [chips.training_batch(step) for step in range(10)]
    for batch in batches:
        bright = batch.image.mean(axis=1) > 120 / 255
        assert np.array_equal(bright, batch.target > 0)
    assert 0.05 < np.mean([batch.target.mean() for batch in batches]) < 0.95


def test_the_target_follows_the_image_to_other_gsds(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    wide = replace(PLAIN, gsd_min_m=0.5, gsd_max_m=1.0)
    with Chips(tmp_path, make_preset(augment=LIVELY, data=wide, batch_size=8)) as chips:
        batch = chips.training_batch(0)
    shown = [pair for pair in zip(batch.image, batch.target > 0, strict=True) if pair[1].mean() > 0.05]
    assert len(shown) >= 4
    for image, target in shown:
        gray = image.mean(axis=0)
        middle = (gray[target].mean() + gray[~target].mean()) / 2
        assert ((gray > middle) == target).mean() > 0.95


@pytest.mark.parametrize("lively", [False, True])
def test_parts_of_a_batch_hold_the_chips_of_the_whole(tmp_path: Path, lively: bool) -> None:
    write_pair(tmp_path, "a")
    sampling = Sampling(building_share=0.5)
    preset = make_preset(augment=LIVELY if lively else STILL, batch_size=6, sampling=sampling)
    with Chips(tmp_path, preset) as chips:
        whole = chips.training_batch(3)
        for parts in (1, 2, 3, 4):
            for part in range(parts):
                made = chips.training_part(3, part, parts)
                assert np.array_equal(made.image, whole.image[part::parts])
                assert np.array_equal(made.target, whole.target[part::parts])
                assert np.array_equal(made.valid, whole.valid[part::parts])
                assert np.array_equal(made.places, whole.places[part::parts])
                assert made.names == whole.names[part::parts]
    assert len({image.tobytes() for image in whole.image}) == 6


def test_a_place_tells_what_a_chip_shows(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        write_pair(tmp_path, stem, seed=ord(stem))
    listed = [Source(image=f"images/{s}.tif", annotations=f"labels/{s}.gpkg", use="train") for s in "ab"]
    with Chips(tmp_path, make_preset(*listed)) as chips:
        batches = [chips.training_batch(step) for step in range(5)]
        assert all(batch.places.shape == (0, 5) for batch in chips.validation_batches())
    for batch in batches:
        for image, name, place in zip(batch.image, batch.names, batch.places.tolist(), strict=True):
            number, col, row, width, height = place
            assert name == f"images/{'ab'[number]}"
            with rasterio.open(tmp_path / f"{name}.tif") as dataset:
                read = dataset.read(window=FloatWindow(col, row, width, height))
            np.testing.assert_allclose(image * 255, read, rtol=1e-5)


def test_validation_chips_may_be_larger_than_those_of_training(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a", height=150, width=210)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="validation")
    write_pair(tmp_path, "b", transform=ELSEWHERE)
    other = Source(image="images/b.tif", annotations="labels/b.gpkg", use="train")
    seen = {}
    for side, batch_size in ((32, 8), (64, 2), (100, 1)):
        preset = make_preset(listed, other, batch_size=8, validation_chip_px=side)
        with Chips(tmp_path, preset) as chips:
            assert chips.training_batch(0).image.shape == (8, 3, 32, 32)
            batches = list(chips.validation_batches())
        assert {batch.image.shape for batch in batches[:-1]} == {(batch_size, 3, side, side)}
        assert sum(int(batch.valid.sum()) for batch in batches) == mask.size
        seen[side] = sum(int(batch.target[batch.valid].sum()) for batch in batches)
    assert set(seen.values()) == {int(mask.sum())}


def _write_town(root: Path, *, mask_raster: bool) -> tuple[Preset, NDArray[np.uint8]]:
    """Write ground of 640 x 640 pixels whose only houses, two, stand far apart; half of one is not valid."""
    (root / "images").mkdir()
    (root / "labels").mkdir()
    houses = [Window(col_off=64, row_off=80, width=12, height=12)]
    houses.append(Window(col_off=560, row_off=500, width=12, height=12))
    mask = to_mask(houses, 640, 640)
    image = houses_image(mask, np.random.default_rng(0))
    image[:, :, 566:] = 0
    write_raster(root / "images" / "a.tif", image, nodata=0)
    if mask_raster:
        write_raster(root / "labels" / "a.tif", mask)
    else:
        write_layer(root / "labels" / "a.gpkg", list(to_polygons(houses)))
    suffix = "tif" if mask_raster else "gpkg"
    listed = Source(image="images/a.tif", annotations=f"labels/a.{suffix}", use="train")
    return make_preset(listed, sampling=Sampling(building_share=1.0)), mask


@pytest.mark.parametrize("mask_raster", [False, True])
@pytest.mark.parametrize("memory_bytes", [0, 2**30])
def test_chips_laid_on_buildings_show_one(tmp_path: Path, mask_raster: bool, memory_bytes: int) -> None:
    preset, _ = _write_town(tmp_path, mask_raster=mask_raster)
    with Chips(tmp_path, preset, memory_bytes=memory_bytes) as chips:
        batches = [chips.training_batch(step) for step in range(15)]
    on_second = [bool(col > 320) for batch in batches for col in batch.places[:, 1]]
    for batch in batches:
        assert (batch.target * batch.valid).any(axis=(1, 2)).all()
    assert np.mean(on_second) == pytest.approx(1 / 3, abs=0.2), "half of it is not valid"


def test_the_share_of_chips_on_buildings_is_the_presets(tmp_path: Path) -> None:
    preset, _ = _write_town(tmp_path, mask_raster=False)
    shares = {}
    for asked in (0.0, 0.5):
        sampled = replace(preset, sampling=Sampling(building_share=asked))
        with Chips(tmp_path, sampled) as chips:
            shown = [chips.training_batch(step).target.any(axis=(1, 2)) for step in range(50)]
        shares[asked] = np.mean(shown)
    assert shares[0.0] < 0.05
    assert shares[0.5] == pytest.approx(0.5 + shares[0.0] / 2, abs=0.09)


def test_without_a_building_to_be_found_chips_lie_anywhere(tmp_path: Path) -> None:
    preset, _ = _write_town(tmp_path, mask_raster=False)
    (source,) = preset.sources
    empty = replace(source, window_px=(200, 200, 200, 200))
    held = replace(source, use="validation", window_px=(0, 0, 150, 150))
    with Chips(tmp_path, replace(preset, sources=(empty, held))) as chips:
        places = np.concatenate([chips.training_batch(step).places for step in range(20)])
    assert np.ptp(places[:, 1]) > 100 and np.ptp(places[:, 2]) > 100


def test_hard_chips_lie_where_the_loss_was_high_in_earlier_epochs(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=320, width=320)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    with Chips(tmp_path, make_preset(listed, sampling=Sampling(hard_share=0.5))) as chips:
        before = chips.training_batch(50)
        for step in range(50):
            places = chips.training_batch(step).places
            chips.note_losses(places, np.where(places[:, 1] < 48, 1.0, 0.1).astype(np.float32))
        assert _same(chips.training_batch(50), before), "until the epoch's end"
        chips.end_epoch()
        assert not _same(chips.training_batch(50), before)
        cols = np.concatenate([chips.training_batch(step).places[:, 1] for step in range(50, 100)])
    assert np.mean(cols < 64) == pytest.approx(0.5 + 0.5 * 64 / 288, abs=0.1)


def test_a_run_that_goes_on_with_the_hardness_of_an_earlier_one_sees_the_same_batches(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=320, width=320)
    preset = make_preset(sampling=Sampling(hard_share=0.5, building_share=0.25))
    with Chips(tmp_path, preset) as chips:
        places = np.concatenate([chips.training_batch(step).places for step in range(30)])
        chips.note_losses(places, places[:, 2].astype(np.float32))
        chips.end_epoch()
        state = chips.hardness
        batches = [chips.training_batch(step) for step in range(30, 34)]
    with Chips(tmp_path, preset) as chips:
        fresh = [chips.training_batch(step) for step in range(30, 34)]
        chips.restore_hardness(state)
        assert all(_same(chips.training_batch(30 + i), batch) for i, batch in enumerate(batches))
    assert not all(_same(one, other) for one, other in zip(fresh, batches, strict=True))


def test_without_a_share_of_hard_chips_losses_are_not_kept(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    with Chips(tmp_path, make_preset()) as chips:
        before = chips.training_batch(1)
        chips.note_losses(before.places, np.full(4, 2.0, np.float32))
        chips.end_epoch()
        assert chips.hardness == {}
        assert _same(chips.training_batch(1), before)
        chips.restore_hardness({})
        with pytest.raises(ValueError, match="without a hard_share"):
            chips.restore_hardness({"0": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize(
    ("gsd_max_m", "jitter", "finest", "coarsest"), [(0.5, 0.0, 1, 1), (1.0, 0.25, 0.8, 2.5)]
)
def test_chips_are_read_at_gsds_from_the_rasters_to_the_coarsest(
    tmp_path: Path, gsd_max_m: float, jitter: float, finest: float, coarsest: float
) -> None:
    write_pair(tmp_path, "a")
    _rewrite(tmp_path, lambda image: np.broadcast_to(np.arange(200, dtype=np.uint8), image.shape))
    data = replace(PLAIN, gsd_max_m=gsd_max_m)
    preset = make_preset(data=data, augment=replace(STILL, gsd_jitter=jitter))
    with Chips(tmp_path, preset) as chips:
        images = np.concatenate([chips.training_batch(step).image for step in range(25)]) * 255
    steps = (images[:, 0, 0, -4] - images[:, 0, 0, 4]) / 24
    assert steps.min() == pytest.approx(finest, abs=0.1)
    assert steps.max() == pytest.approx(coarsest, abs=0.15)
    assert np.median(steps) == pytest.approx((finest * coarsest) ** 0.5, abs=0.2)


def test_ground_smaller_than_a_chip_is_padded_with_what_does_not_count(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=40, width=60)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    with Chips(tmp_path, make_preset(listed, chip_px=64)) as chips:
        batch = chips.training_batch(0)
    assert (batch.valid.sum(axis=(1, 2)) == 40 * 60).all()
    assert not batch.image.transpose(0, 2, 3, 1)[~batch.valid].any()
    assert batch.image.transpose(0, 2, 3, 1)[batch.valid].all()


def test_a_chip_from_too_small_ground_gets_finer_no_more_than_the_jitter_allows(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=60, width=200)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    wide = replace(PLAIN, gsd_max_m=2.0)
    preset = make_preset(listed, chip_px=64, data=wide, augment=replace(STILL, gsd_jitter=0.1))
    with Chips(tmp_path, preset) as chips:
        batch = chips.training_batch(0)
    assert batch.valid.all(), "60 working pixels fill 64 at 1/1.07 of the GSD"


def test_invalid_pixels_are_flagged_and_zero(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")

    def spoil(image: np.ndarray) -> np.ndarray:
        image[:, 40:80, 60:130] = 0
        return image

    pixels = _rewrite(tmp_path, spoil, nodata=0)
    shifted = replace(PLAIN, mean=(0.5,) * 3, std=(0.25,) * 3)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="validation")
    train = write_pair(tmp_path, "b", transform=ELSEWHERE)
    both = (listed, Source(image="images/b.tif", annotations="labels/b.gpkg", use="train"))
    with Chips(tmp_path, make_preset(*both, data=shifted)) as chips:
        batches = list(chips.validation_batches())
    valid = np.concatenate([batch.valid for batch in batches])
    images = np.concatenate([batch.image for batch in batches]).transpose(0, 2, 3, 1)
    assert valid.sum() == (pixels != 0).any(axis=0).sum() == train.size - 40 * 70
    assert np.isfinite(images).all()
    assert (images[valid] != 0).any(axis=1).all()


def test_training_chips_keep_to_scattered_valid_ground(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=512, width=512)

    def scatter(image: np.ndarray) -> np.ndarray:
        kept = np.zeros_like(image)
        for row, col in ((0, 64), (256, 400), (448, 96)):
            kept[:, row : row + 48, col : col + 48] = image[:, row : row + 48, col : col + 48]
        return kept

    _rewrite(tmp_path, scatter, nodata=0)
    listed = Source(image="images/a.tif", annotations="labels/a.gpkg", use="train")
    with Chips(tmp_path, make_preset(listed)) as chips:
        shares = np.concatenate([chips.training_batch(step).valid.mean(axis=(1, 2)) for step in range(20)])
        (summary,) = chips.summaries
    assert shares.min() >= 0.2, "a quarter, coarsely"
    assert shares.mean() > 0.4
    assert summary.training_chips == pytest.approx(3 * 48 * 48 / 32**2)


def test_validation_shows_every_pixel_of_its_ground_once_and_as_it_is(tmp_path: Path) -> None:
    mask = write_pair(tmp_path, "a", height=150, width=210)
    pixels = _rewrite(
        tmp_path, lambda image: np.arange(image.size, dtype=np.uint64).reshape(image.shape).astype(np.uint16)
    )
    listed = (
        Source(
            image="images/a.tif", annotations="labels/a.gpkg", use="validation", window_px=(5, 7, 200, 140)
        ),
        Source(image="images/b.tif", annotations="labels/b.gpkg", use="train"),
    )
    write_pair(tmp_path, "b", transform=ELSEWHERE)
    write_raster(tmp_path / "images" / "b.tif", np.zeros((3, 160, 200), np.uint16), transform=ELSEWHERE)
    lively = make_preset(*listed, data=replace(PLAIN, dtype="uint16"), augment=LIVELY, batch_size=5)
    with Chips(tmp_path, lively) as chips:
        batches = list(chips.validation_batches())
    seen = np.concatenate([b.image[:, 0][b.valid] for b in batches])
    targets = np.concatenate([b.target[b.valid] for b in batches])
    numbers = np.rint(seen * 65535).astype(int)
    expected = pixels[0, 7:147, 5:205]
    assert np.array_equal(np.sort(numbers), np.sort(expected.ravel()))
    assert np.array_equal(targets > 0, mask.ravel()[numbers] > 0)
    assert [len(b.names) for b in batches] == [5] * 7
    assert {name for b in batches for name in b.names} == {"images/a"}


def test_no_training_chip_sees_validation_ground(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=260, width=250)
    numbers = np.arange(260 * 250, dtype=np.uint16).reshape(260, 250)
    _rewrite(tmp_path, lambda image: np.stack([numbers] * len(image)))
    preset = make_preset(data=replace(PLAIN, dtype="uint16"), chip_px=16, validation_share=0.3)
    with Chips(tmp_path, preset) as chips:
        kept = np.concatenate([b.image[:, 0][b.valid] for b in chips.validation_batches()])
        learned = np.concatenate([chips.training_batch(step).image[:, 0].ravel() for step in range(200)])
        (summary,) = chips.summaries
    both = [set(np.rint(seen * 65535).astype(int).tolist()) for seen in (kept, learned)]
    assert not both[0] & both[1]
    assert len(both[0]) == summary.validation_chips * 16**2
    assert len(both[1]) > 0.9 * summary.training_chips * 16**2
    assert len(both[0]) + summary.training_chips * 16**2 == 260 * 250


def test_sources_share_batches_by_their_valid_ground(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=160, width=160)
    write_pair(tmp_path, "b", height=160, width=480)
    with Chips(tmp_path, make_preset()) as chips:
        names = [name for step in range(150) for name in chips.training_batch(step).names]
    assert names.count("images/b") / len(names) == pytest.approx(0.75, abs=0.06)


def test_summaries_tell_what_each_source_gives(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", height=160, width=200)
    with Chips(tmp_path, make_preset()) as chips:
        (summary,) = chips.summaries
    assert summary.name == "images/a"
    assert summary.training_chips == 160 * 150 / 32**2
    assert summary.validation_chips == 160 * 50 / 32**2
    assert summary.footprints == 30
    assert summary.repairs is not None and summary.repairs.dropped == 0


def test_no_valid_ground_to_learn_from_is_an_error(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    _rewrite(tmp_path, np.zeros_like, nodata=0)
    with pytest.raises(InputError, match="has no valid ground to learn from"):
        Chips(tmp_path, make_preset())


def test_stopping_validation_early_leaves_nothing_behind(tmp_path: Path) -> None:
    write_pair(tmp_path, "a")
    with Chips(tmp_path, make_preset(batch_size=1)) as chips:
        batches = chips.validation_batches()
        first = next(batches)
        batches.close()
        assert _same(first, next(chips.validation_batches()))
        pixels = chips.sources[0].pixels
    assert isinstance(pixels, MemoryRaster)
    with pytest.raises(RasterioIOError):
        rasterio.open(pixels.path)


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="lists open files as Linux does")
def test_validating_again_and_again_does_not_gather_open_files(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        write_pair(tmp_path, stem)
    with Chips(tmp_path, make_preset(), memory_bytes=0) as chips:
        counts = []
        for _ in range(6):
            assert sum(len(batch.names) for batch in chips.validation_batches()) > 0
            counts.append(len(list(OPEN_FILES.iterdir())))
    threads, sources = 2, 3
    assert counts[-1] <= counts[0] + threads * sources
    assert len(list(OPEN_FILES.iterdir())) < counts[0]
