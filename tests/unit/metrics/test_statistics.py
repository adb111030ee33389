import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.metrics import statistics
from buildmap.metrics.statistics import (
    bootstrap,
    holm,
    object_statistics,
    paired_test,
    pixel_statistics,
)


def random_counts(rng: np.random.Generator, blocks: int) -> NDArray[np.int64]:
    """Draw blocks of very different size, some without anything, some equal."""
    counts = rng.poisson(rng.gamma(0.5, 40, (blocks, 1)) * [0.7, 0.2, 0.3])
    counts[rng.random(blocks) < 0.3] = 0
    return np.asarray(counts, np.int64)


def iou_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[:, :1] / sums.sum(axis=1, keepdims=True)


def test_intervals_are_those_of_resampling_whole_rows() -> None:
    counts = random_counts(np.random.default_rng(5), 150)
    rows = np.arange(len(counts))
    oracle = scipy.stats.bootstrap(
        (rows,),
        lambda drawn, axis: pixel_statistics(counts[drawn].sum(axis=axis - 1).reshape(-1, 3)).T.squeeze(),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(6),
        batch=500,
    )
    found = bootstrap(counts, pixel_statistics, rng=np.random.default_rng(7), repeats=20_000)
    assert len(found) == 4
    for interval, low, high in zip(
        found, oracle.confidence_interval.low, oracle.confidence_interval.high, strict=True
    ):
        width = high - low
        assert width > 0.01
        assert interval.low == pytest.approx(low, abs=0.03 * width)
        assert interval.high == pytest.approx(high, abs=0.03 * width)


def test_an_interval_of_95_percent_holds_the_truth_about_that_often() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(300):
        size = rng.gamma(2, 200, 60)
        share = rng.beta(6, 2, 60)  # of each block; independent of its size, so the true share is 0.75
        tp = np.rint(size * share)
        counts = np.column_stack([tp, np.rint(size) - tp]).astype(np.int64)
        (interval,) = bootstrap(counts, iou_of, rng=rng, repeats=400)
        held += interval.low <= 0.75 <= interval.high
    assert 0.90 * 300 <= held <= 0.99 * 300


def test_blocks_that_are_right_or_wrong_together_have_wider_intervals_than_loose_pixels() -> None:
    rng = np.random.default_rng(9)
    right = rng.integers(0, 101, 40)
    blocks = np.column_stack([right, 100 - right])
    loose = np.repeat([[1, 0], [0, 1]], [right.sum(), 4000 - right.sum()], axis=0)
    (together,), (apart,) = (bootstrap(counts, iou_of, rng=rng) for counts in (blocks, loose))
    assert together.high - together.low > 4 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    counts = random_counts(np.random.default_rng(1), 80)
    first = bootstrap(counts, pixel_statistics, rng=np.random.default_rng(2), repeats=50)
    assert first == bootstrap(counts, pixel_statistics, rng=np.random.default_rng(2), repeats=50)
    assert first != bootstrap(counts, pixel_statistics, rng=np.random.default_rng(3), repeats=50)


def test_empty_ground_is_drawn_too_and_sums_of_large_counts_are_exact() -> None:
    counts = np.zeros((1000, 1), np.int64)
    counts[::50] = 3 * 2**42 + 1
    seen = []

    def remember(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(sums[:, 0])
        return sums

    bootstrap(counts, remember, rng=np.random.default_rng(1), repeats=4000)
    times = seen[0] / (3 * 2**42 + 1)
    np.testing.assert_array_equal(times, np.rint(times))
    # of 1000 draws, 20 are of filled blocks on average: binomial, spread sqrt(1000 * 0.02 * 0.98)
    assert times.mean() == pytest.approx(20, abs=0.3)
    assert times.std() == pytest.approx(math.sqrt(19.6), rel=0.05)


def test_a_higher_level_gives_a_wider_interval() -> None:
    counts = random_counts(np.random.default_rng(1), 80)
    half, most = (
        bootstrap(counts, pixel_statistics, rng=np.random.default_rng(2), level=level)[0]
        for level in (0.5, 0.99)
    )
    assert most.low < half.low < half.high < most.high


@pytest.mark.parametrize(("filled", "known"), [(0, False), (9, False), (10, True)])
def test_too_few_blocks_with_anything_give_no_interval(filled: int, known: bool) -> None:
    counts = np.zeros((500, 3), np.int64)
    counts[:filled] = random_counts(np.random.default_rng(3), filled) + 1
    intervals = bootstrap(counts, pixel_statistics, rng=np.random.default_rng(4))
    assert len(intervals) == 4
    for interval in intervals:
        assert math.isfinite(interval.low) == math.isfinite(interval.high) == known


def test_no_block_at_all_gives_no_interval() -> None:
    intervals = bootstrap(np.zeros((0, 3), np.int64), object_statistics, rng=np.random.default_rng(4))
    assert len(intervals) == 3
    assert all(math.isnan(interval.low) and math.isnan(interval.high) for interval in intervals)


def test_draws_in_which_a_score_is_undefined_do_not_count_for_it() -> None:
    counts = np.zeros((12, 3), np.int64)
    counts[:, 2] = 5  # missed buildings only: precision is nothing in nothing
    counts[0, 0] = 5  # but for one block
    precision, recall, _ = bootstrap(counts, object_statistics, rng=np.random.default_rng(5))
    assert (precision.low, precision.high) == (1, 1)
    assert recall.low == 0 < recall.high < 0.5
    counts[0, 0] = 0
    precision, recall, _ = bootstrap(counts, object_statistics, rng=np.random.default_rng(5))
    assert math.isnan(precision.low) and math.isnan(precision.high)
    assert (recall.low, recall.high) == (0, 0)


def test_scores_of_sums_are_those_of_their_formulas_and_nothing_in_nothing_is_nan() -> None:
    sums = np.array([[6.0, 2.0, 4.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    np.testing.assert_allclose(
        pixel_statistics(sums), [[0.5, 2 / 3, 0.75, 0.6], [np.nan] * 4, [0, 0, 0, np.nan]]
    )
    np.testing.assert_allclose(object_statistics(sums), [[0.75, 0.6, 2 / 3], [np.nan] * 3, [0, np.nan, 0]])
    assert len(statistics.PIXEL_STATISTICS) == 4 and len(statistics.OBJECT_STATISTICS) == 3
    with_true_negatives = np.column_stack([sums, [7, 8, 9]])
    np.testing.assert_array_equal(pixel_statistics(with_true_negatives), pixel_statistics(sums))


def rank_slowly(difference: list[float]) -> tuple[list[float], list[float]]:
    """Give the ranks of wins and of losses, each rank by counting."""
    unequal = [value for value in difference if value != 0]
    ranks: dict[bool, list[float]] = {True: [], False: []}
    for value in unequal:
        smaller = sum(abs(other) < abs(value) for other in unequal)
        equal = sum(abs(other) == abs(value) for other in unequal)
        ranks[value > 0].append(smaller + (equal + 1) / 2)
    return ranks[True], ranks[False]


@pytest.mark.parametrize("n", [6, 30, 300])
def test_p_values_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.random(n) + 0.05, rng.random(n)
    found = paired_test(a, b, units="images", rng=rng)
    two_sided = scipy.stats.wilcoxon(a, b)
    assert (found.statistic, found.p_value) == pytest.approx(
        (two_sided.statistic, two_sided.pvalue), rel=1e-9
    )
    assert found.p_greater == pytest.approx(
        scipy.stats.wilcoxon(a, b, alternative="greater").pvalue, rel=1e-9
    )
    assert (found.units, found.n) == ("images", n)


def test_small_p_values_are_exact() -> None:
    a = np.array([0.1, 0.25, 0.4, 0.6, 0.9])
    found = paired_test(a, np.zeros(5), units="images", rng=np.random.default_rng(1))
    assert (found.p_greater, found.p_value) == pytest.approx((1 / 32, 2 / 32))
    tied = paired_test(np.full(5, 0.5), np.zeros(5), units="images", rng=np.random.default_rng(1))
    assert (tied.p_greater, tied.p_value) == pytest.approx((1 / 32, 2 / 32))


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.25, 0.5, 0.75, 1]), st.sampled_from([0, 0.25, 0.5, 0.75, 1])),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=50)
def test_with_ties_the_one_sided_p_value_is_that_of_all_signs(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    found = paired_test(a, b, units="images", rng=np.random.default_rng(1))
    won, lost = rank_slowly((a - b).tolist())
    wins, losses = sum(won), sum(lost)
    assert found.statistic == min(wins, losses)
    assert found.effect_size == pytest.approx((wins - losses) / (wins + losses) if wins + losses else 0)
    assert (found.wins, found.losses, found.ties) == ((a > b).sum(), (a < b).sum(), (a == b).sum())
    ranks = np.array(won + lost)
    signs = np.array(list(itertools.product([0, 1], repeat=len(ranks))))
    assert found.p_greater == pytest.approx((signs @ ranks >= wins).mean())


def test_an_example_worked_by_hand() -> None:
    # differences 3, -1, 2, 4, 0, -2.5: ranks of sizes 4, 1, 2, 5, -, 3
    a = np.array([0.53, 0.49, 0.62, 0.84, 0.5, 0.475, np.nan, 0.9])
    b = np.array([0.50, 0.50, 0.60, 0.80, 0.5, 0.500, 0.3, np.nan])
    found = paired_test(a, b, units="cells", rng=np.random.default_rng(1))
    assert (found.n, found.wins, found.losses, found.ties) == (6, 3, 2, 1)
    assert found.statistic == 4
    assert found.effect_size == pytest.approx((11 - 4) / 15)
    assert found.mean_difference == pytest.approx((3 - 1 + 2 + 4 - 2.5) / 600)
    assert found.median_difference == pytest.approx(0.01)
    # of 32 sign patterns, 7 have a sum of losing ranks of at most 4: {} 1 2 3 4 12 13
    assert found.p_greater == pytest.approx(7 / 32)
    assert found.p_value == pytest.approx(14 / 32)


def test_swapping_the_maps_turns_the_result_around() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(40), rng.random(40) * 0.7
    one = paired_test(a, b, units="images", rng=np.random.default_rng(1))
    other = paired_test(b, a, units="images", rng=np.random.default_rng(1))
    assert (one.wins, one.losses) == (other.losses, other.wins)
    assert one.effect_size == pytest.approx(-other.effect_size)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.mean_difference == pytest.approx(-other.mean_difference)
    assert one.p_greater < 0.5 < other.p_greater


def test_the_interval_of_the_mean_difference_is_that_of_resampled_units() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.gamma(2, 0.1, 60), rng.gamma(2, 0.07, 60)
    found = paired_test(a, b, units="images", rng=rng)
    oracle = scipy.stats.bootstrap(
        (a - b,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(6)
    ).confidence_interval
    width = oracle.high - oracle.low
    assert found.low == pytest.approx(oracle.low, abs=0.08 * width)
    assert found.high == pytest.approx(oracle.high, abs=0.08 * width)
    assert found.low < found.mean_difference < found.high


@pytest.mark.parametrize("n", [3, 20])
def test_maps_that_are_equal_everywhere_are_not_told_apart(n: int) -> None:
    found = paired_test(np.full(n, 0.3) + 0.6, np.full(n, 0.9), units="images", rng=np.random.default_rng(1))
    assert (found.wins, found.losses, found.ties) == (0, 0, n)
    assert (found.statistic, found.p_value, found.p_greater, found.effect_size) == (0, 1, 1, 0)
    assert (found.mean_difference, found.median_difference) == (0, 0)
    ends = [found.low, found.high]
    assert ends == [0, 0] if n >= statistics.FEWEST_BLOCKS else all(map(math.isnan, ends))


def test_maps_without_a_common_unit_have_no_difference() -> None:
    nan = np.array([np.nan, 0.4])
    found = paired_test(nan, nan[::-1], units="images", rng=np.random.default_rng(1))
    assert (found.n, found.p_value, found.effect_size) == (0, 1, 0)
    assert all(map(math.isnan, (found.mean_difference, found.median_difference, found.low, found.high)))


def test_holm_corrects_as_in_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    corrected = holm(p_values)
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - step) > level:
            break
        rejected.add(index)
    assert {index for index, value in enumerate(corrected) if value <= level} == rejected
