from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import buildmap.changes.votes as votes_module
from buildmap.changes.votes import Modes, Points, Search, Votes, cast_votes, find_modes, group_medians

SEARCH = Search(tolerance=10, radius=1)


def points(rng: np.random.Generator, count: int, *, side: float = 60.0) -> Points:
    xy = rng.uniform(0, side, (count, 2)) + np.array([400_000, 5_000_000])
    return Points(xy, rng.choice([40.0, 60.0, 80.0, 90.0, 135.0], count))


def ballot(*groups: NDArray[np.float64]) -> Votes:
    """Let each group have these ways, one vote each."""
    group = np.repeat(np.arange(len(groups)), [len(ways) for ways in groups])
    return Votes(group, np.concatenate(groups), np.ones(len(group), np.int64))


def cluster(rng: np.random.Generator, way: tuple[float, float], count: int) -> NDArray[np.float64]:
    return np.asarray(way + rng.normal(0, 0.2, (count, 2)).clip(-0.5, 0.5))


def anywhere(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    angle, distance = rng.uniform(0, 2 * np.pi, count), SEARCH.reach * np.sqrt(rng.random(count))
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def assert_same_bits(one: Modes, other: Modes) -> None:
    for field in fields(Modes):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), groups=st.integers(1, 5))
def test_medians_are_those_of_each_value_repeated(seed: int, count: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, groups, count))
    values, weight = rng.integers(0, 9, count) / 4, rng.integers(1, 4, count)
    repeated = [np.repeat(values[group == one], weight[group == one]) for one in range(groups)]
    expected = [np.median(some) if len(some) else np.nan for some in repeated]
    np.testing.assert_array_equal(group_medians(values, weight, group, groups), expected)


@given(seed=st.integers(0, 2**32 - 1), counts=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_all_pairs_of_like_size_within_reach_vote_once(seed: int, counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    before, after = points(rng, counts[0]), points(rng, counts[1])
    group = rng.integers(0, 3, counts[0])
    expected = []
    for i in range(counts[0]):
        for j in range(counts[1]):
            way = after.xy[j] - before.xy[i]
            large, small = max(before.area[i], after.area[j]), min(before.area[i], after.area[j])
            if np.hypot(*way) <= 11 and large / small < 1.5:
                expected.append((group[i], *way))
    votes = cast_votes(before, after, group, SEARCH)
    assert sorted(zip(votes.group, *votes.way.T, strict=True)) == sorted(expected)
    assert (np.diff(votes.group) >= 0).all()
    assert (votes.weight == 1).all()


def test_a_building_that_stayed_where_it_was_votes_for_no_shift() -> None:
    one = Points(np.array([[400_000.0, 5_000_000.0]]), np.array([50.0]))
    np.testing.assert_array_equal(cast_votes(one, one, np.zeros(1, np.int64), SEARCH).way, [[0, 0]])


def test_a_heap_of_buildings_in_one_place_does_not_vote() -> None:
    heap = Points(np.zeros((65, 2)), np.full(65, 50.0))
    lone = Points(np.array([[0.0, 0.0], [100.0, 0.0]]), np.full(2, 50.0))
    joined = Points(np.concatenate([heap.xy, lone.xy[1:]]), np.full(66, 50.0))
    votes = cast_votes(lone, joined, np.array([0, 1]), SEARCH)
    assert votes.group.tolist() == [1]
    fewer = Points(heap.xy[:64], heap.area[:64])
    assert len(cast_votes(lone, fewer, np.array([0, 1]), SEARCH).group) == 64


@pytest.mark.parametrize("seed", range(10))
def test_the_mode_is_the_median_of_those_that_agree_amid_as_many_that_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distance, angle = rng.uniform(0, 9.9), rng.uniform(0, 2 * np.pi)
    way = (distance * np.cos(angle), distance * np.sin(angle))
    agreed = cluster(rng, way, 60)
    modes = find_modes(ballot(np.concatenate([anywhere(rng, 90), agreed])), np.array([100]), SEARCH)
    np.testing.assert_allclose(modes.way[0], np.median(agreed, axis=0), atol=0.06)
    assert 60 <= modes.pairs[0] <= 66
    assert modes.clear[0]


def test_the_shift_is_the_median_of_the_very_pairs_that_support_it_though_they_spread_wide() -> None:
    off = []
    for seed in range(30):
        ways = np.array([3.3, -4.1]) + np.random.default_rng(seed).normal(0, 0.6, (200, 2))
        modes = find_modes(ballot(ways), np.array([200]), SEARCH)
        support = ways[np.linalg.norm(ways - modes.way[0], axis=1) <= SEARCH.radius]
        assert modes.pairs[0] == len(support)
        off.append(np.abs(np.median(support, axis=0) - modes.way[0]).max())
    assert np.mean(off) < 0.003


def test_the_spread_is_the_median_distance_of_the_pairs_from_the_shift() -> None:
    rng = np.random.default_rng(3)
    agreed = cluster(rng, (2, 1), 41)
    modes = find_modes(ballot(agreed), np.array([41]), SEARCH)
    np.testing.assert_array_equal(modes.way[0], np.median(agreed, axis=0))
    distances = np.linalg.norm(agreed - np.median(agreed, axis=0), axis=1)
    assert modes.spread[0] == pytest.approx(np.median(distances), abs=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_neither_the_order_of_votes_nor_other_groups_change_a_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ways = [
        np.concatenate(
            [anywhere(rng, int(rng.integers(0, 40))), cluster(rng, (1, 2), int(rng.integers(0, 30)))]
        )
        for _ in range(4)
    ]
    could = rng.integers(10, 60, 4)
    whole = find_modes(ballot(*ways), could, SEARCH)
    assert_same_bits(find_modes(ballot(*[rng.permutation(some) for some in ways]), could, SEARCH), whole)
    for number, some in enumerate(ways):
        alone = find_modes(ballot(some), could[number : number + 1], SEARCH)
        np.testing.assert_array_equal(alone.way[0], whole.way[number])
        assert alone.pairs[0] == whole.pairs[number]


def test_many_groups_are_searched_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, number = np.random.default_rng(0), np.arange(12)
    ways = [
        np.concatenate([cluster(rng, (3, 1), 20 * (one % 3)), cluster(rng, (-6, 1), 20 * (one % 3))])
        for one in number
    ]
    could = np.where(number % 4 < 3, 40, 400)
    expected = np.where(number[:, None] % 2, [-6.0, 1], [3.0, 1])
    whole = find_modes(ballot(*ways), could, SEARCH, expected)
    assert whole.found.tolist() == ((number % 3 > 0) & (could == 40)).tolist()
    np.testing.assert_allclose(whole.way[whole.found], expected[whole.found], atol=0.2)
    monkeypatch.setattr(votes_module, "_CELLS_AT_A_TIME", 10_000)
    assert_same_bits(find_modes(ballot(*ways), could, SEARCH, expected), whole)


def test_a_rival_three_radii_away_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    angle, highest = rng.uniform(0, 2 * np.pi, 300), rng.uniform(-3, 3, (300, 2))
    rival = highest + 3 * np.column_stack([np.cos(angle), np.sin(angle)])
    ways = [
        np.concatenate([cluster(rng, (a, b), 100), cluster(rng, (c, d), 97)])
        for (a, b), (c, d) in zip(highest, rival, strict=True)
    ]
    found = find_modes(ballot(*ways), np.full(300, 100), SEARCH, expected=rival).way
    np.testing.assert_allclose(found, rival, atol=0.2)


def test_weights_count_like_so_many_votes() -> None:
    rng = np.random.default_rng(1)
    ways, weight = cluster(rng, (3, -2), 10), np.arange(1, 11)
    votes = Votes(np.zeros(10, np.int64), ways, weight)
    repeated = ballot(np.repeat(ways, weight, axis=0))
    assert_same_bits(find_modes(votes, np.array([55]), SEARCH), find_modes(repeated, np.array([55]), SEARCH))


def test_of_nearly_equal_peaks_the_shortest_is_taken_or_the_one_nearest_to_what_is_expected() -> None:
    rng = np.random.default_rng(2)
    votes = ballot(np.concatenate([cluster(rng, (0, 6), 100), cluster(rng, (0, -1), 95)]))
    near = find_modes(votes, np.array([100]), SEARCH)
    np.testing.assert_allclose(near.way, [[0, -1]], atol=0.1)
    assert not near.clear[0]
    far = find_modes(votes, np.array([100]), SEARCH, expected=np.array([[0.0, 5.0]]))
    np.testing.assert_allclose(far.way, [[0, 6]], atol=0.1)


def test_a_low_wide_peak_is_not_overlooked_beside_a_high_narrow_one() -> None:
    rng = np.random.default_rng(1)
    narrow = np.array([0.25, 6.25]) + rng.normal(0, 0.25, (100, 2))
    wide = np.array([0.25, -1.25]) + rng.normal(0, 0.4, (100, 2))
    modes = find_modes(ballot(np.concatenate([narrow, wide])), np.array([100]), SEARCH)
    np.testing.assert_allclose(modes.way, [[0.25, -1.25]], atol=0.15)


def test_a_peak_that_four_bins_share_is_not_overlooked_beside_one_in_a_single_bin() -> None:
    rng = np.random.default_rng(1)
    shared = np.array([0.25, -1.25]) + rng.normal(0, 0.05, (100, 2))
    single = np.array([0.0, 6.0]) + rng.normal(0, 0.05, (60, 2))
    modes = find_modes(ballot(np.concatenate([shared, single])), np.array([100]), SEARCH)
    np.testing.assert_allclose(modes.way, [[0.25, -1.25]], atol=0.02)


@pytest.mark.parametrize(("more", "fewer"), [(100, 85), (16, 12)])
def test_a_peak_with_clearly_more_votes_is_taken_though_it_is_longer(more: int, fewer: int) -> None:
    rng = np.random.default_rng(2)
    votes = ballot(np.concatenate([cluster(rng, (0, 6), more), cluster(rng, (0, -1), fewer)]))
    modes = find_modes(votes, np.array([more]), SEARCH, expected=np.array([[0.0, -1.0]]))
    np.testing.assert_allclose(modes.way, [[0, 6]], atol=0.2)
    assert modes.pairs.tolist() == [more]
    assert modes.clear[0]


@pytest.mark.parametrize(
    ("agreeing", "could", "found"), [(12, 12, True), (11, 11, False), (25, 100, True), (24, 100, False)]
)
def test_a_shift_needs_enough_pairs_and_a_share_of_those_there_could_be(
    agreeing: int, could: int, found: bool
) -> None:
    rng = np.random.default_rng(4)
    modes = find_modes(ballot(cluster(rng, (2, 2), agreeing)), np.array([could]), SEARCH)
    assert modes.found[0] == found
    assert modes.pairs[0] == (agreeing if found else 0)
    assert np.isnan(modes.way[0]).all() == (not found)


@pytest.mark.parametrize("seed", range(10))
def test_chance_pairs_agree_on_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert not find_modes(ballot(anywhere(rng, 800)), np.array([20]), SEARCH).found[0]


@pytest.mark.parametrize(
    ("search", "agreeing", "astray"), [(SEARCH, 30, 300), (Search(tolerance=1, radius=1), 60, 40)]
)
def test_those_who_agree_are_measured_against_the_others_over_the_whole_reach(
    search: Search, agreeing: int, astray: int
) -> None:
    rng = np.random.default_rng(0)
    others = anywhere(rng, astray) * search.reach / SEARCH.reach
    modes = find_modes(
        ballot(np.concatenate([cluster(rng, (0.5, 0), agreeing), others])), np.array([50]), search
    )
    np.testing.assert_allclose(modes.way, [[0.5, 0]], atol=0.1)
    assert agreeing <= modes.pairs[0] < agreeing + 15


@pytest.mark.parametrize(("length", "found"), [(9.9, True), (10.3, False), (10.9, False)])
def test_the_longest_shift_is_found_whole_and_a_longer_one_not_in_part(length: float, found: bool) -> None:
    agreed = cluster(np.random.default_rng(5), (-length, 0.0), 60)
    agreed = agreed[np.linalg.norm(agreed, axis=1) <= SEARCH.reach]
    modes = find_modes(ballot(agreed), np.array([60]), SEARCH)
    assert modes.found[0] == found
    if found:
        assert modes.pairs[0] == 60


def test_no_votes_and_no_groups_give_nothing() -> None:
    votes = ballot(np.empty((0, 2)))
    assert not find_modes(votes, np.array([50, 50]), SEARCH).found.any()
    assert find_modes(votes, np.empty(0, np.int64), SEARCH).way.shape == (0, 2)
