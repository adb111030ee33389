"""Boundary scores and SSIM on one core, beside scipy and scikit-image on the same masks."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from buildmap.metrics.boundary import boundary_counts
from buildmap.metrics.similarity import similarity_sum

Mask = NDArray[np.bool_]
ROWS, COLS, SIDE_PX = 1024, 4096, 20
RARE, COMMON = 0.01, 0.2


def town(share: float) -> tuple[Mask, Mask, Mask]:
    """Draw prediction, truth and True: buildings over a share of the ground, walls off by up to 2 pixels."""
    rng = np.random.default_rng(0)
    truth, prediction = np.zeros((ROWS, COLS), bool), np.zeros((ROWS, COLS), bool)
    for _ in range(int(-np.log(1 - share) * ROWS * COLS / SIDE_PX**2)):
        row, col = rng.integers(5, ROWS - SIDE_PX), rng.integers(5, COLS - SIDE_PX)
        up, down, left, right = rng.integers(-2, 3, 4)
        truth[row : row + SIDE_PX, col : col + SIDE_PX] = True
        prediction[row + up : row + SIDE_PX + down, col + left : col + SIDE_PX + right] = True
    return prediction, truth, np.ones_like(truth)


def speed(work: Callable[[], object], times: int) -> float:
    """Give the best of some runs in Mpx per second of CPU, what is compiled being compiled."""
    seconds = []
    for _ in range(times):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return ROWS * COLS / 1e6 / min(seconds)


def boundary_by_scipy(prediction: Mask, truth: Mask, width_px: int) -> None:
    square, cross = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)
    rims, lines = [], []
    for mask in (prediction, truth):
        rims.append(mask & ~ndimage.binary_erosion(mask, square, iterations=width_px))
        lines.append(mask & ~ndimage.binary_erosion(mask, cross, border_value=1))
    np.count_nonzero(rims[0] & rims[1])
    np.count_nonzero(rims[0] | rims[1])
    for line, other in (lines, lines[::-1]):
        np.count_nonzero(line & (ndimage.distance_transform_edt(~other) <= width_px))


@pytest.mark.benchmark
@pytest.mark.parametrize(("share", "floor"), [(COMMON, 100), (RARE, 400)])
@pytest.mark.parametrize("width_px", [3, 10])
def test_boundaries_are_counted_at_the_speed_of_reading(share: float, floor: float, width_px: int) -> None:
    masks = town(share)

    def count() -> None:
        boundary_counts(*masks, rows=slice(0, ROWS), width_px=width_px, at_top=True, at_bottom=True)

    count()
    ours = speed(count, 9)
    scipys = speed(lambda: boundary_by_scipy(masks[0], masks[1], width_px), 1)
    print(f"boundary, {share:.0%} buildings, {width_px} px: {ours:.0f} Mpx/s, scipy {scipys:.1f} Mpx/s")
    assert ours >= floor
    assert ours >= 10 * scipys


@pytest.mark.benchmark
@pytest.mark.parametrize(("share", "floor"), [(COMMON, 30), (RARE, 300)])
def test_similarity_is_summed_at_the_speed_of_reading(share: float, floor: float) -> None:
    masks = town(share)

    def add() -> None:
        similarity_sum(*masks, rows=slice(0, ROWS))

    def compare() -> None:
        structural_similarity(
            masks[0].astype(float),
            masks[1].astype(float),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )

    add()
    ours, rival = speed(add, 9), speed(compare, 1)
    print(f"SSIM, {share:.0%} buildings: {ours:.0f} Mpx/s, scikit-image {rival:.1f} Mpx/s")
    assert ours >= floor
    assert ours >= 3 * rival
