"""Buildings counted by size: each once, by its own area, and as many as there are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from buildmap.metrics.cells import Placed
from buildmap.metrics.instances import count_instances
from buildmap.metrics.sizes import EDGES_M2, NO_BUILDINGS, SizeCounts, count_sizes
from buildmap.vector.matching import Matches


def placed(area_m2: list[float], counted: list[bool] | None = None) -> Placed:
    count = len(area_m2)
    return Placed(
        rows=np.zeros(count, np.int64),
        cols=np.zeros(count, np.int64),
        area_m2=np.array(area_m2, np.float64),
        counted=np.ones(count, np.bool_) if counted is None else np.array(counted, np.bool_),
    )


def matched(*pairs: tuple[int, int]) -> Matches:
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    return Matches(left=left, right=right, iou=np.ones(len(pairs)))


def bins(counts: tuple[int, ...]) -> dict[float, int]:
    """Name what is not empty by its lower limit."""
    return {low: count for low, count in zip((0.0, *EDGES_M2), counts, strict=True) if count}


def test_limits_are_round_and_grow_evenly() -> None:
    assert EDGES_M2 == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def test_a_building_is_in_the_bin_that_starts_at_its_area() -> None:
    counts = count_sizes(placed([0.5, 99.9, 100.0, 199.0, 1e9]), placed([]), matched())
    assert bins(counts.mapped) == {0: 1, 50: 1, 100: 2, 50_000: 1}
    assert bins(counts.true) == bins(counts.found) == bins(counts.right) == {}


def test_a_pair_has_two_sizes_and_counts_where_its_true_building_does() -> None:
    mapped = placed([60.0, 300.0, 700.0], [False, True, True])
    true = placed([150.0, 300.0, 30.0], [True, False, True])
    counts = count_sizes(mapped, true, matched((0, 0), (1, 1)))
    assert bins(counts.true) == {100: 1, 20: 1}
    assert bins(counts.found) == {100: 1}
    assert bins(counts.mapped) == {50: 1, 500: 1}  # the pair of a building that does not count is neither
    assert bins(counts.right) == {50: 1}


def test_a_building_of_unknown_area_is_in_no_bin() -> None:
    assert bins(count_sizes(placed([float("nan"), 7.0]), placed([float("nan")]), matched()).mapped) == {5: 1}


@given(st.data())
def test_the_bins_hold_as_many_as_are_found_invented_and_missed(data: st.DataObject) -> None:
    areas = st.floats(0.01, 1e6)
    sides = [
        placed(some, data.draw(st.lists(st.booleans(), min_size=len(some), max_size=len(some))))
        for some in (data.draw(st.lists(areas, max_size=9)) for _ in range(2))
    ]
    most = min(len(side.area_m2) for side in sides)
    pairs = list(zip(range(most), data.draw(st.permutations(range(most))), strict=True))
    matches = matched(*pairs[: data.draw(st.integers(0, most))])
    counts = count_sizes(*sides, matches)
    told = count_instances(matches, prediction_counted=sides[0].counted, truth_counted=sides[1].counted)
    assert sum(counts.found) == sum(counts.right) == told.tp
    assert sum(counts.true) == told.tp + told.fn
    assert sum(counts.mapped) == told.tp + told.fp
    assert all(found <= true for found, true in zip(counts.found, counts.true, strict=True))


def test_counts_add_up_bin_by_bin() -> None:
    one = count_sizes(placed([7.0, 70.0]), placed([8.0]), matched((0, 0)))
    other = count_sizes(placed([7.0]), placed([80.0, 8.0]), matched((0, 1)))
    both = one + other
    assert (bins(both.true), bins(both.found)) == ({5: 2, 50: 1}, {5: 2})
    assert (bins(both.mapped), bins(both.right)) == ({5: 2, 50: 1}, {5: 2})
    assert one + NO_BUILDINGS == one


def test_empty_bins_between_are_shown_and_outer_ones_are_not() -> None:
    counts = count_sizes(placed([7.0]), placed([300.0]), matched())
    assert [(0.0, *EDGES_M2)[number] for number in counts.shown] == [5, 10, 20, 50, 100, 200]
    assert list(SizeCounts().shown) == []
