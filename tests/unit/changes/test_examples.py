"""Which rows are shown: those that tell most, whatever the batches, and never more than a few."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.changes.examples import STATUSES, Examples, by_status, changed_m2
from tests.unit.changes.rows import Rows, random_rows, squares, told


def collect(parts: list[Rows], **options: float) -> Examples:
    examples = Examples(**options)
    for part in parts:
        examples.add(part)
    return examples


def chosen_at_once(rows: Rows, status: str, most: int, cell: float) -> list[str]:
    """Sort everything, take the first of each cell, then the first of what is left."""
    changed = changed_m2(rows)
    order = sorted(
        np.flatnonzero(rows.status == status),
        key=lambda row: (-changed[row], rows.building_id[row]),
    )
    cells, first, others = set(), [], []
    for row in order:
        left, bottom, right, top = rows.polygons[row].bounds
        place = ((left + right) / 2 // cell, (bottom + top) / 2 // cell)
        (others if place in cells else first).append(row)
        cells.add(place)
    kept = (first[:most] + others)[:most] if len(first) < most else first[:most]
    return [rows.building_id[row] for row in order if row in kept]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 90),
    most=st.integers(1, 6),
    cell=st.sampled_from([300.0, 1500.0, 1e6]),
    cuts=st.lists(st.integers(0, 90), max_size=4),
)
def test_the_examples_are_those_of_everything_at_once_whatever_the_batches_and_their_order(
    seed: int, count: int, most: int, cell: float, cuts: list[int]
) -> None:
    rows = random_rows(seed, count)
    order = np.random.default_rng(seed).permutation(count)
    parts = [rows.take(part) for part in np.split(order, sorted(min(cut, count) for cut in cuts))]
    kept = collect(parts, per_status=most, cell=cell).examples
    for status in STATUSES:
        found = [example.building_id for example in kept if example.status == status]
        assert found == chosen_at_once(rows, status, most, cell)


def test_what_changed_is_all_ground_gained_and_lost() -> None:
    rows = squares(np.array([[0.0, 0], [50, 0], [100, 0]]), np.full(3, 10.0), ["added", "removed", "changed"])
    expected = [
        polygon.area if one is None or other is None else one.symmetric_difference(other).area
        for polygon, one, other in zip(rows.polygons, rows.before, rows.after, strict=True)
    ]
    np.testing.assert_allclose(changed_m2(rows), expected)
    np.testing.assert_allclose(expected, [100, 100, 10])


def test_one_town_does_not_fill_the_page() -> None:
    town = np.arange(40)[:, None] * [5.0, 0]
    far = np.array([[5100.0, 100], [-900, 100]])
    rows = squares(np.concatenate([town, far]), np.array([20.0] * 40 + [3, 2]), ["removed"] * 42)
    kept = collect([rows], per_status=3, cell=1000).examples
    assert [example.building_id for example in kept] == ["id-0", "id-40", "id-41"]


def test_a_town_alone_fills_it_all_the_same() -> None:
    rows = squares(np.arange(40)[:, None] * [5.0, 0], np.arange(40) / 10 + 1, ["removed"] * 40)
    kept = collect([rows], per_status=3, cell=1000).examples
    assert [example.building_id for example in kept] == ["id-39", "id-38", "id-37"]


def test_rows_with_one_id_are_told_apart_by_their_ground() -> None:
    rows = squares(
        np.array([[30.0, 0], [10, 0], [20, 0]]), np.full(3, 4.0), ["added"] * 3, names=["same"] * 3
    )
    forward = collect([rows], per_status=2).examples
    backward = collect([rows.take(np.array([2, 1, 0]))], per_status=2).examples
    assert [told(example) for example in forward] == [told(example) for example in backward]
    assert len({example.polygon.wkb for example in forward}) == 2


def test_equal_rows_of_a_cell_are_told_apart_when_there_is_no_room_for_both() -> None:
    xy = np.array([[10.0, 0], [20, 0], [730, 0], [710, 0], [720, 0]])
    rows = squares(xy, np.array([9.0, 9, 4, 4, 4]), ["added"] * 5, names=["a", "b", "same", "same", "same"])
    orders = [np.array([0, 1, *rest]) for rest in ([2, 3, 4], [3, 4, 2], [4, 2, 3])]
    kept = [[told(one) for one in collect([rows.take(order)], per_status=2).examples] for order in orders]
    assert kept[0] == kept[1] == kept[2]
    assert [name for name, *_ in kept[0]] == ["a", "same"]


def test_an_example_carries_what_its_row_says() -> None:
    rows = squares(np.array([[7.0, 9], [50, 9]]), np.array([10.0, 8]), ["changed", "removed"])
    (_, (removed,)), (_, (changed,)) = by_status(collect([rows]).examples)
    assert (changed.building_id, changed.kind, changed.shift_m) == ("id-0", "enlarged", 2.5)
    assert (changed.before, changed.after, changed.polygon) == (rows.before[0], rows.after[0], rows.after[0])
    assert (changed.area_before_m2, round(changed.area_after_m2, 6)) == (100, 110)
    assert changed.shift == (1.5, 2.0)
    assert (removed.kind, removed.after, removed.shift) == (None, None, (1.5, 0.0))
    assert np.isnan(removed.area_after_m2)


def test_however_much_streams_by_little_is_held() -> None:
    examples = Examples(per_status=5, cell=100)
    for seed in range(10):
        examples.add(random_rows(seed, 400))
    assert len(examples.examples) == 5 * len(STATUSES)
    assert all(len(podium._of_cells) <= 5 and len(podium._of_all) <= 5 for podium in examples._podiums)


def test_the_overview_counts_every_row_by_status() -> None:
    rows = random_rows(3, 500)
    overview = collect([rows]).overview
    assert overview.counts.sum(axis=(1, 2)).tolist() == [(rows.status == one).sum() for one in STATUSES]


def test_a_row_without_a_place_is_left_out() -> None:
    rows = squares(np.array([[np.nan, 0], [10, 0]]), np.full(2, 4.0), ["added"] * 2)
    examples = collect([rows])
    assert [example.building_id for example in examples.examples] == ["id-1"]
    assert examples.overview.counts.sum() == 1


def test_examples_come_in_the_order_of_the_statuses() -> None:
    kept = collect([random_rows(1, 300)]).examples
    assert [status for status, _ in by_status(kept)] == list(STATUSES)
    assert [example for _, some in by_status(kept) for example in some] == kept


def test_a_word_that_is_no_status_is_refused() -> None:
    rows = squares(np.zeros((1, 2)), np.ones(1), ["vanished"])
    with pytest.raises(ValueError, match="vanished"):
        Examples().add(rows)


@pytest.mark.parametrize("options", [{"per_status": 0}, {"cell": 0.0}, {"cell": float("nan")}])
def test_nothing_to_keep_and_cells_without_a_size_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="examples in cells"):
        Examples(**options)
