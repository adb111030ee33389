import math
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.metrics.boundary import (
    BoundaryCounts,
    BoundaryScores,
    boundary_counts,
    boundary_scores,
    halo_rows,
)
from tests.scenes import blocks_mask

Mask = NDArray[np.bool_]
SQUARE, CROSS = np.ones((3, 3), bool), ndimage.generate_binary_structure(2, 1)


def scene(seed: int, height: int, width: int) -> tuple[Mask, Mask, Mask]:
    """Draw a truth, a prediction with other edges, and some pixels that do not count."""
    rng = np.random.default_rng(seed)
    truth = blocks_mask(rng, height, width, count=1 + height * width // 400).astype(bool)
    noise = rng.random((height, width)) < rng.choice([0, 0.03, 0.3])
    prediction = np.roll(truth, rng.integers(-2, 3, 2), (0, 1)) ^ noise
    holes = rng.random((height, width)) < rng.choice([0, 0.002, 0.05])
    return prediction, truth, ~holes


def counts_of_all(prediction: Mask, truth: Mask, counted: Mask, width_px: int) -> BoundaryCounts:
    everything = slice(0, len(truth))
    return boundary_counts(
        prediction, truth, counted, rows=everything, width_px=width_px, at_top=True, at_bottom=True
    )


def counts_of_strips(
    masks: tuple[Mask, Mask, Mask], width_px: int, cuts: list[int], spare: int = 0
) -> BoundaryCounts:
    height, halo = len(masks[0]), halo_rows(width_px) + spare
    total = BoundaryCounts()
    for start, stop in pairwise([0, *cuts, height]):
        first, last = max(start - halo, 0), min(stop + halo, height)
        total += boundary_counts(
            *(mask[first:last] for mask in masks),
            rows=slice(start - first, stop - first),
            width_px=width_px,
            at_top=first == 0,
            at_bottom=last == height,
        )
    return total


def rim(mask: Mask, width_px: int) -> Mask:
    return mask & ~ndimage.binary_erosion(mask, SQUARE, iterations=width_px, border_value=0)


def outline(mask: Mask) -> Mask:
    return mask & ~ndimage.binary_erosion(mask, CROSS, border_value=1)


def distance(marks: Mask) -> NDArray[np.float64]:
    return ndimage.distance_transform_edt(~marks) if marks.any() else np.full(marks.shape, np.inf)


def expected(prediction: Mask, truth: Mask, judged: Mask, width_px: int) -> BoundaryCounts:
    """Count on the whole arrays with scipy, all pixels being known."""
    rims = [rim(mask, width_px) & judged for mask in (prediction, truth)]
    predicted, true = outline(prediction), outline(truth)
    near_predicted, near_true = (distance(line) <= width_px for line in (predicted, true))
    return BoundaryCounts(
        shared=int((rims[0] & rims[1]).sum()),
        either=int((rims[0] | rims[1]).sum()),
        predicted=int((predicted & judged).sum()),
        predicted_near=int((predicted & near_true & judged).sum()),
        true=int((true & judged).sum()),
        true_near=int((true & near_predicted & judged).sum()),
    )


@pytest.mark.parametrize("width_px", [1, 2, 3, 5, 10, 17])
@pytest.mark.parametrize("shape", [(70, 200), (150, 65), (1, 90), (90, 1), (5, 7)])
def test_counts_are_those_of_scipy(width_px: int, shape: tuple[int, int]) -> None:
    prediction, truth, counted = scene(width_px, *shape)
    everywhere = np.ones_like(counted)
    got = counts_of_all(prediction, truth, everywhere, width_px)
    assert got == expected(prediction, truth, everywhere, width_px)


def test_a_wide_rim_is_as_exact() -> None:
    rng = np.random.default_rng(3)
    truth = ndimage.gaussian_filter(rng.random((500, 420)), 30) > 0.5
    prediction = np.roll(truth, 9, axis=1)
    everywhere = np.ones_like(truth)
    got = counts_of_all(prediction, truth, everywhere, 40)
    assert got == expected(prediction, truth, everywhere, 40)
    assert 0 < got.shared < got.either
    assert got.true_near > 0


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 160),
    width=st.integers(1, 160),
    width_px=st.integers(1, 12),
    spare=st.integers(0, 3),
    data=st.data(),
)
def test_any_cut_into_strips_adds_up_to_the_whole(
    seed: int, height: int, width: int, width_px: int, spare: int, data: st.DataObject
) -> None:
    masks = scene(seed, height, width)
    cuts = sorted(data.draw(st.lists(st.integers(0, height), max_size=6)))
    assert counts_of_strips(masks, width_px, cuts, spare) == counts_of_all(*masks, width_px)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 70),
    width=st.integers(1, 140),
    width_px=st.integers(1, 15),
)
def test_what_lies_under_pixels_that_do_not_count_changes_nothing(
    seed: int, height: int, width: int, width_px: int
) -> None:
    prediction, truth, counted = scene(seed, height, width)
    judged = ndimage.binary_erosion(counted, SQUARE, iterations=width_px + 1, border_value=1)
    got = counts_of_all(prediction & counted, truth & counted, counted, width_px)
    assert got == counts_of_all(prediction | ~counted, truth | ~counted, counted, width_px)
    assert got == expected(prediction, truth, judged, width_px)


def test_where_data_end_inside_a_building_there_is_no_boundary() -> None:
    building = np.zeros((40, 40), bool)
    building[10:30, 10:] = True
    half = np.zeros((40, 40), bool)
    half[:, :25] = True
    cut = counts_of_all(building, building, half, 2)
    assert cut.true == 20 + 2 * 11  # its left side, and above and below up to three pixels from the end
    assert cut.either == 20 * 2 + 2 * 2 * 10


def test_the_border_of_the_window_makes_a_rim_but_no_outline() -> None:
    full = np.ones((20, 20), bool)
    counts = counts_of_all(full, full, full, 2)
    assert counts == BoundaryCounts(shared=20**2 - 16**2, either=20**2 - 16**2)


def test_a_building_two_pixels_beside_its_place_counted_by_hand() -> None:
    truth, prediction = np.zeros((8, 10), bool), np.zeros((8, 10), bool)
    truth[2:6, 2:6] = prediction[2:6, 4:8] = True
    counts = counts_of_all(prediction, truth, np.ones_like(truth), 1)
    assert counts == BoundaryCounts(shared=4, either=20, predicted=12, predicted_near=8, true=12, true_near=8)
    given_scores = boundary_scores(counts, width_px=1, width_m=0.5)
    assert given_scores == BoundaryScores(
        width_m=0.5, width_px=1, iou=4 / 20, f1=pytest.approx(8 / 12), precision=8 / 12, recall=8 / 12
    )


def test_f1_is_the_harmonic_mean() -> None:
    counts = BoundaryCounts(predicted=10, predicted_near=9, true=10, true_near=3)
    assert boundary_scores(counts, width_px=1, width_m=1).f1 == pytest.approx(2 * 0.9 * 0.3 / 1.2)


def test_nothing_against_nothing_scores_one_and_one_side_alone_nothing() -> None:
    assert astuple(boundary_scores(BoundaryCounts(), width_px=3, width_m=1.5)) == (1.5, 3, 1, 1, 1, 1)
    missed = boundary_scores(BoundaryCounts(either=9, true=9), width_px=3, width_m=1.5)
    assert (missed.iou, missed.f1, missed.precision, missed.recall) == (0, 0, 1, 0)
    invented = boundary_scores(BoundaryCounts(either=9, predicted=9), width_px=3, width_m=1.5)
    assert (invented.iou, invented.f1, invented.precision, invented.recall) == (0, 0, 0, 1)


def test_counts_add_up_field_by_field() -> None:
    one = BoundaryCounts(shared=1, either=2, predicted=3, predicted_near=4, true=5, true_near=6)
    ten = BoundaryCounts(shared=10, either=20, predicted=30, predicted_near=40, true=50, true_near=60)
    assert astuple(one + ten) == (11, 22, 33, 44, 55, 66)


def davis_outline(mask: Mask) -> Mask:
    """Mark as the code of DAVIS does: a pixel unlike its right, lower or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, across = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask != right) | (mask != below) | (mask != across)


@pytest.mark.parametrize("seed", range(8))
def test_the_outline_of_davis_lies_up_to_one_pixel_beside_ours(seed: int) -> None:
    prediction, truth, _ = scene(seed, 80, 90)
    for mask in (prediction, truth):
        ours, theirs = outline(mask), davis_outline(mask)
        assert (ours != theirs).any()
        assert distance(theirs)[ours].max() == 1
        assert distance(ours)[theirs].max() in {1, math.sqrt(2)}


def f_of_davis(prediction: Mask, truth: Mask, width_px: int) -> float:
    predicted, true = davis_outline(prediction), davis_outline(truth)
    precision = float((distance(true)[predicted] <= width_px).mean())
    recall = float((distance(predicted)[true] <= width_px).mean())
    return 2 * precision * recall / (precision + recall)


def f_of_ours(prediction: Mask, truth: Mask, width_px: int) -> float:
    counts = counts_of_all(prediction, truth, np.ones_like(truth), width_px)
    return boundary_scores(counts, width_px=width_px, width_m=1).f1


def test_f_of_davis_is_near_ours_on_buildings_and_weighs_single_pixels_four_times() -> None:
    truth = blocks_mask(np.random.default_rng(1), 200, 220, count=40).astype(bool)
    prediction = np.roll(truth, 3, axis=1)
    assert 0 < abs(f_of_ours(prediction, truth, 2) - f_of_davis(prediction, truth, 2)) < 0.03
    speck = np.zeros((9, 9), bool)
    speck[4, 4] = True
    assert (outline(speck).sum(), davis_outline(speck).sum()) == (1, 4)


@pytest.mark.parametrize(
    ("start", "stop", "at_top", "at_bottom"),
    [(3, 20, False, True), (0, 17, True, False), (0, 9, False, True)],
)
def test_too_small_a_halo_is_refused(start: int, stop: int, at_top: bool, at_bottom: bool) -> None:
    masks = scene(0, 20, 30)
    with pytest.raises(ValueError, match="lack the 4 rows"):
        boundary_counts(*masks, rows=slice(start, stop), width_px=3, at_top=at_top, at_bottom=at_bottom)


def test_a_halo_of_just_the_right_size_is_accepted() -> None:
    masks = scene(0, 20, 30)
    strip = boundary_counts(*masks, rows=slice(4, 16), width_px=3, at_top=False, at_bottom=False)
    assert strip.either > 0


def test_arrays_of_different_shapes_and_a_width_of_nothing_are_refused() -> None:
    prediction, truth, counted = scene(0, 20, 30)
    with pytest.raises(ValueError, match="shapes differ"):
        counts_of_all(prediction[:, :-1], truth, counted, 3)
    with pytest.raises(ValueError, match="at least 1"):
        counts_of_all(prediction, truth, counted, 0)
