from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from buildmap.data.copies import MemoryRaster
from buildmap.data.dataset import Batch, Chips
from buildmap.errors import InputError
from buildmap.preset import Source
from tests.scenes import write_raster
from tests.unit.data.material import LIVELY, PLAIN, STILL, make_preset, write_pair

OPEN_FILES = Path("/proc/self/fd")


def _same(one: Batch, other: Batch) -> bool:
    return (
        np.array_equal(one.image, other.image)
        and np.array_equal(one.target, other.target)
        and np.array_equal(one.valid, other.valid)
        and one.names == other.names
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
    with Chips(tmp_path, make_preset(augment=LIVELY, data=wide)) as chips:
        batch = chips.training_batch(0)
    for image, target in zip(batch.image, batch.target > 0, strict=True):
        gray = image.mean(axis=0)
        middle = (gray[target].mean() + gray[~target].mean()) / 2
        assert ((gray > middle) == target).mean() > 0.95


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
    train = write_pair(tmp_path, "b")
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
    write_pair(tmp_path, "b")
    write_raster(tmp_path / "images" / "b.tif", np.zeros((3, 160, 200), np.uint16))
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
