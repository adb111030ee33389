import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from buildmap.metrics.similarity import HALO_ROWS, Similarity, SimilaritySum, similarity, similarity_sum
from tests.scenes import blocks_mask

Mask = NDArray[np.bool_]
ONE = 2**40


def scene(seed: int, height: int, width: int) -> tuple[Mask, Mask, Mask]:
    """Draw a truth, a prediction that differs in places, and some pixels that do not count."""
    rng = np.random.default_rng(seed)
    truth = blocks_mask(rng, height, width, count=1 + height * width // 400).astype(bool)
    prediction = truth ^ (rng.random((height, width)) < rng.choice([0, 0.001, 0.03, 0.4]))
    holes = rng.random((height, width)) < rng.choice([0, 0.0005, 0.01])
    return prediction, truth, ~holes


def sum_of_all(prediction: Mask, truth: Mask, counted: Mask) -> SimilaritySum:
    return similarity_sum(prediction, truth, counted, rows=slice(0, len(truth)))


def sum_of_strips(masks: tuple[Mask, Mask, Mask], cuts: list[int], spare: int = 0) -> SimilaritySum:
    height, halo = len(masks[0]), HALO_ROWS + spare
    total = SimilaritySum()
    for start, stop in pairwise([0, *cuts, height]):
        first, last = max(start - halo, 0), min(stop + halo, height)
        rows = slice(start - first, stop - first)
        total += similarity_sum(*(mask[first:last] for mask in masks), rows=rows)
    return total


def skimage_map(prediction: Mask, truth: Mask) -> tuple[float, NDArray[np.float64]]:
    mean, per_pixel = structural_similarity(
        prediction.astype(float),
        truth.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        full=True,
    )
    return float(mean), per_pixel


@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (75, 74), (150, 210)])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_random_masks_score_as_scikit_image_says(shape: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(shape)
    prediction, truth = rng.random(shape) < share, rng.random(shape) < share
    got = similarity(sum_of_all(prediction, truth, np.ones(shape, bool)))
    mean, _ = skimage_map(prediction, truth)
    assert got.ssim == pytest.approx(mean, abs=1e-9)
    assert got.pixels == (shape[0] - 10) * (shape[1] - 10)


@pytest.mark.parametrize("seed", range(6))
def test_maps_of_buildings_score_as_scikit_image_says(seed: int) -> None:
    prediction, truth, counted = scene(seed, 190, 170)
    shifted = np.roll(prediction, 2, axis=1)
    mean, _ = skimage_map(shifted, truth)
    assert similarity(sum_of_all(shifted, truth, counted | True)).ssim == pytest.approx(mean, abs=1e-9)
    assert mean < 0.999


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(11, 90), width=st.integers(11, 90))
def test_only_pixels_whose_whole_window_counts_are_compared(seed: int, height: int, width: int) -> None:
    prediction, truth, counted = scene(seed, height, width)
    judged = ndimage.binary_erosion(counted, np.ones((11, 11)), border_value=0)
    _, per_pixel = skimage_map(prediction, truth)
    got = sum_of_all(prediction & counted, truth | ~counted, counted)
    assert got.pixels == judged.sum()
    assert got.total / ONE == pytest.approx(per_pixel[judged].sum(), abs=1e-9 * max(got.pixels, 1))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 160),
    width=st.integers(1, 160),
    spare=st.integers(0, 3),
    data=st.data(),
)
def test_any_cut_into_strips_adds_up_to_the_whole(
    seed: int, height: int, width: int, spare: int, data: st.DataObject
) -> None:
    masks = scene(seed, height, width)
    cuts = sorted(data.draw(st.lists(st.integers(0, height), max_size=6)))
    assert sum_of_strips(masks, cuts, spare) == sum_of_all(*masks)


@given(seed=st.integers(0, 2**32 - 1))
def test_turned_masks_and_exchanged_masks_sum_to_the_same_bits(seed: int) -> None:
    prediction, truth, counted = scene(seed, 70, 90)
    expected = sum_of_all(prediction, truth, counted)
    assert sum_of_all(truth, prediction, counted) == expected
    assert sum_of_all(prediction[::-1, ::-1], truth[::-1, ::-1], counted[::-1, ::-1]) == expected


def test_identical_masks_are_exactly_alike_even_beside_a_difference() -> None:
    truth = blocks_mask(np.random.default_rng(0), 60, 60).astype(bool)
    everywhere = np.ones_like(truth)
    assert sum_of_all(truth, truth, everywhere) == SimilaritySum(total=2500 * ONE, pixels=2500)
    prediction = truth.copy()
    prediction[30, 30] ^= True
    near = sum_of_all(prediction, truth, everywhere)
    window = (slice(20, 41), slice(20, 41))  # the 11 x 11 pixels that see the difference, and their windows
    alone = sum_of_all(prediction[window], truth[window], everywhere[window])
    assert alone.pixels == 121
    assert near.total - 2500 * ONE == alone.total - 121 * ONE < 0


def test_one_pixel_in_nothing_worked_by_hand() -> None:
    prediction, truth = np.zeros((11, 11), bool), np.zeros((11, 11), bool)
    prediction[5, 5] = True
    bell = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    mean = (bell[5] / bell.sum()) ** 2
    expected = 1e-4 * 9e-4 / ((mean**2 + 1e-4) * (mean - mean**2 + 9e-4))
    got = sum_of_all(prediction, truth, np.ones((11, 11), bool))
    assert got.pixels == 1
    assert got.total / ONE == pytest.approx(expected, abs=2**-40)


def test_opposites_are_below_zero() -> None:
    truth = np.random.default_rng(0).random((40, 40)) < 0.5
    sums = sum_of_all(~truth, truth, np.ones_like(truth))
    mean, _ = skimage_map(~truth, truth)
    assert similarity(sums).ssim == pytest.approx(mean, abs=1e-9)
    assert mean < -0.5


def test_a_window_smaller_than_the_filter_has_no_similarity() -> None:
    for shape in [(10, 40), (40, 10), (0, 40), (3, 3)]:
        empty = np.zeros(shape, bool)
        sums = sum_of_all(empty, empty, ~empty)
        assert sums == SimilaritySum()
        assert math.isnan(similarity(sums).ssim)


def test_sums_add_up_and_give_their_mean() -> None:
    sums = SimilaritySum(total=3 * ONE, pixels=4) + SimilaritySum(total=-ONE, pixels=6)
    assert similarity(sums) == Similarity(ssim=0.2, pixels=10)


def test_a_raster_of_a_country_does_not_overflow() -> None:
    pixels = 10**13
    assert similarity(SimilaritySum(total=pixels * ONE, pixels=pixels)).ssim == 1


def test_arrays_of_different_shapes_are_refused() -> None:
    prediction, truth, counted = scene(0, 20, 30)
    with pytest.raises(ValueError, match="shapes differ"):
        sum_of_all(prediction, truth, counted[:-1])
