import math

import numpy as np
import pytest
from hypothesis import given, strategies
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from buildmap.metrics.calibration import calibrate
from buildmap.metrics.histogram import Histogram

BINS = pytest.mark.parametrize("bins", [1, 2, 10, 15, 20])


def draw(seed: int, highest: int = 254) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw values and truth of an overconfident map."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, highest + 1, 5000)
    return values, (rng.random(5000) < 0.2 + 0.5 * values / 254).astype(np.int64)


def count(values: NDArray[np.int64], truth: NDArray[np.int64]) -> Histogram:
    counts = np.zeros((2, 255), np.int64)
    np.add.at(counts, (truth, values), 1)
    return Histogram(counts=counts)


@BINS
@pytest.mark.parametrize("seed", [0, 1])
def test_the_curve_is_that_of_scikit_learn(seed: int, bins: int) -> None:
    values, truth = draw(seed)
    got = calibrate(count(values, truth), bins)
    observed, probability = calibration_curve(truth, values / 254, n_bins=bins)
    assert len(got.bins) == bins
    np.testing.assert_allclose([b.observed for b in got.bins if b.pixels], observed, rtol=1e-12)
    np.testing.assert_allclose([b.probability for b in got.bins if b.pixels], probability, rtol=1e-12)


@BINS
def test_bins_are_open_below_and_closed_above(bins: int) -> None:
    values, truth = draw(2)
    got = calibrate(count(values, truth), bins)
    for found in got.bins:
        above = (values / 254 > found.low) | (found.low == 0)
        assert found.pixels == np.count_nonzero(above & (values / 254 <= found.high))
    edges = [got.bins[0].low, *(found.high for found in got.bins)]
    np.testing.assert_allclose(edges, np.linspace(0, 1, bins + 1), rtol=1e-15)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_brier_score_is_that_of_scikit_learn(seed: int) -> None:
    values, truth = draw(seed)
    assert calibrate(count(values, truth)).brier == pytest.approx(
        brier_score_loss(truth, values / 254), rel=1e-12
    )


@pytest.mark.parametrize("seed", [5, 6])
def test_the_errors_are_the_mean_and_the_greatest_distance_of_the_curve_from_the_diagonal(seed: int) -> None:
    values, truth = draw(seed)
    got = calibrate(count(values, truth), 15)
    observed, probability = calibration_curve(truth, values / 254, n_bins=15)
    distance = np.abs(observed - probability)
    members, _ = np.histogram(-values / 254, np.linspace(-1, 0, 16))  # mirrored: closed above, as bins are
    assert (members > 0).all()
    assert got.ece == pytest.approx(np.average(distance, weights=members[::-1]), rel=1e-12)
    assert got.mce == pytest.approx(distance.max(), rel=1e-12)


def test_probability_one_belongs_to_the_last_bin() -> None:
    values, truth = np.array([254, 254, 240, 240]), np.array([1, 1, 0, 1])
    got = calibrate(count(values, truth), 15)
    assert got.ece == pytest.approx((240 + 254) / 2 / 254 - 3 / 4, rel=1e-12)
    assert got.bins[14].pixels == 4


def test_a_case_by_hand() -> None:
    values, truth = np.array([0, 127, 127, 128, 254]), np.array([0, 0, 1, 1, 0])
    got = calibrate(count(values, truth), 2)
    low, high = got.bins
    assert (low.low, low.high, high.low, high.high) == (0, 0.5, 0.5, 1)
    assert (low.pixels, high.pixels) == (3, 2)
    assert (low.probability, low.observed) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (high.probability, high.observed) == (pytest.approx((128 + 254) / 2 / 254), 0.5)
    assert got.ece == pytest.approx(2 / 5 * (191 / 254 - 0.5))
    assert got.mce == pytest.approx(191 / 254 - 0.5)
    assert got.brier == pytest.approx((0 + 0.25 + 0.25 + (126 / 254) ** 2 + 1) / 5)


def test_bins_without_pixels_say_nothing_and_count_for_nothing() -> None:
    got = calibrate(count(np.array([10, 10]), np.array([0, 1])), 4)
    assert [found.pixels for found in got.bins] == [2, 0, 0, 0]
    assert all(math.isnan(b.probability) and math.isnan(b.observed) for b in got.bins[1:])
    assert got.ece == got.mce == pytest.approx(0.5 - 10 / 254)


def test_nothing_has_no_calibration() -> None:
    got = calibrate(Histogram())
    assert math.isnan(got.ece) and math.isnan(got.mce) and math.isnan(got.brier)
    assert len(got.bins) == 15


def test_there_are_bins() -> None:
    with pytest.raises(ValueError, match="0 bins"):
        calibrate(Histogram(), 0)


@given(strategies.integers(1, 10**12), strategies.integers(1, 60))
def test_the_number_of_pixels_does_not_matter_only_their_shares(times: int, bins: int) -> None:
    counts = count(*draw(7)).counts
    one, many = calibrate(Histogram(counts=counts), bins), calibrate(Histogram(counts=counts * times), bins)
    assert (many.ece, many.mce, many.brier) == pytest.approx((one.ece, one.mce, one.brier), rel=1e-12)
    assert one.mce >= one.ece
    assert sum(found.pixels for found in many.bins) == times * 5000
