"""Linking two dates, streaming, against doing it at once."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry.base import BaseGeometry

from buildmap.changes.buildings import Buildings, buildings_of, gather
from buildmap.changes.links import Linked, Linker, find_components
from buildmap.errors import InputError

Shapes = NDArray[np.object_]
Pair = tuple[int, int, float]
SEEDS = st.integers(0, 2**32 - 1)


def boxes(*corners: tuple[float, float, float, float]) -> Shapes:
    return np.array([shapely.box(*sides) for sides in corners], object)


def rows_of(shapes: Shapes, rows: NDArray[np.int64] | None = None) -> Buildings:
    chosen = np.arange(len(shapes)) if rows is None else rows
    return buildings_of(shapes[chosen], chosen, {"name": chosen * 10})


def some_shapes(rng: np.random.Generator, count: int) -> Shapes:
    """Draw boxes on a lattice, where equal shares, equal edges and mere touches are many; and diamonds."""
    low, size = rng.integers(0, (12, 40), (count, 2)), rng.integers(1, 6, (count, 2))
    drawn = np.asarray(shapely.box(*low.T, *(low + size).T), object)
    for number in np.flatnonzero(rng.random(count) < 0.3):
        drawn[number] = shapely.Point(low[number]).buffer(float(size[number, 0]), 1)
    return drawn


def is_linked(one: BaseGeometry, other: BaseGeometry, share: float, iou: float) -> bool:
    shared = one.intersection(other).area
    if round(shared / min(one.area, other.area), 9) > share:
        return True
    return round(shared / one.union(other).area, 9) > iou


def at_once(
    before: Shapes, after: Shapes, share: float = 0.1, iou: float = 0.05
) -> tuple[list[tuple[list[int], list[int]]], dict[tuple[int, int], float]]:
    """Give the components in the order promised, as rows of both dates, and the area that pairs share."""
    lefts, rights = shapely.STRtree(after).query(before)
    pairs = [
        (i, j)
        for i, j in zip(lefts.tolist(), rights.tolist(), strict=True)
        if is_linked(before[i], after[j], share, iou)
    ]
    count = len(before) + len(after)
    ends = np.array(pairs, np.int64).reshape(-1, 2) + np.array([0, len(before)])
    _, of_node = connected_components(coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(count, count)))
    groups = []
    for number in range(of_node.max(initial=-1) + 1):
        nodes = np.flatnonzero(of_node == number).tolist()
        olds = [node for node in nodes if node < len(before)]
        news = [node - len(before) for node in nodes if node >= len(before)]
        lowest = min(shape.bounds[1] for shape in [*before[olds], *after[news]])
        groups.append((-lowest, olds or [count], news or [count], (olds, news)))
    return [group for *_, group in sorted(groups)], {
        (i, j): before[i].intersection(after[j]).area for i, j in pairs
    }


def streamed(before: Shapes, after: Shapes, levels: list[float], **limits: float) -> list[Linked]:
    """Cut both dates into strips whose lower edges are some levels, by the tops of the buildings."""
    linker, given_back = Linker(**limits), []
    above = np.inf
    for below in [*sorted(levels, reverse=True), -np.inf]:
        now = []
        for shapes in (before, after):
            top = shapely.bounds(shapes).reshape(-1, 4)[:, 3]
            now.append(rows_of(shapes, np.flatnonzero((top <= above) & (top > below))))
        given_back.append(linker.push(*now, below=below))
        above = below
    assert len(linker) == 0
    return [*given_back, linker.finish()]


def rows_and_pairs(parts: list[Linked]) -> tuple[list[int], list[int], dict[tuple[int, int], float]]:
    old = np.concatenate([part.before.row for part in parts]).tolist()
    new = np.concatenate([part.after.row for part in parts]).tolist()
    pairs = {}
    for part in parts:
        ends = part.before.row[part.overlaps.left], part.after.row[part.overlaps.right]
        pairs |= dict(
            zip(zip(*(end.tolist() for end in ends), strict=True), part.overlaps.shared, strict=True)
        )
    return old, new, pairs


@given(
    SEEDS,
    st.lists(st.integers(-3, 48), max_size=12),
    st.sampled_from([(0.1, 0.05), (0.5, 0.4), (0, 0), (1, 1)]),
)
@settings(max_examples=25, deadline=None)
def test_any_strips_give_what_linking_all_at_once_gives_in_the_order_promised(
    seed: int, levels: list[float], limits: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    before, after = (some_shapes(rng, int(rng.integers(0, 40))) for _ in range(2))
    groups, expected = at_once(before, after, *limits)
    parts = streamed(before, after, levels, link_share=limits[0], link_iou=limits[1])
    old, new, pairs = rows_and_pairs(parts)
    assert old == [row for olds, _ in groups for row in olds]
    assert new == [row for _, news in groups for row in news]
    assert pairs.keys() == expected.keys()
    np.testing.assert_allclose([pairs[key] for key in expected], list(expected.values()), rtol=1e-9)


@given(SEEDS, st.lists(st.integers(-3, 48), max_size=12))
@settings(max_examples=12, deadline=None)
def test_a_component_comes_whole_with_its_links_in_one_call(seed: int, levels: list[float]) -> None:
    rng = np.random.default_rng(seed)
    before, after = some_shapes(rng, 30), some_shapes(rng, 30)
    groups, _ = at_once(before, after)
    place = {("old", row): number for number, (olds, _) in enumerate(groups) for row in olds}
    place |= {("new", row): number for number, (_, news) in enumerate(groups) for row in news}
    seen: set[int] = set()
    for part in streamed(before, after, levels):
        components = find_components(part.overlaps)
        here: dict[int, set[int]] = {}
        for side, buildings, component in zip(
            ("old", "new"), (part.before, part.after), components, strict=True
        ):
            for row, number in zip(buildings.row.tolist(), component.tolist(), strict=True):
                here.setdefault(number, set()).add(place[side, row])
        assert all(len(numbers) == 1 for numbers in here.values())
        assert len(set.union(set(), *here.values())) == len(here)
        assert not seen & set.union(set(), *here.values())
        seen |= set.union(set(), *here.values())
    assert len(seen) == len(groups)


@given(SEEDS)
@settings(max_examples=12, deadline=None)
def test_overlaps_are_sorted_and_say_the_areas_of_both_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = some_shapes(rng, 30), some_shapes(rng, 30)
    for part in streamed(before, after, [10, 20, 30]):
        pairs = list(zip(part.overlaps.left.tolist(), part.overlaps.right.tolist(), strict=True))
        assert pairs == sorted(pairs)
        for buildings, shapes, area in (
            (part.before, before, part.overlaps.left_area),
            (part.after, after, part.overlaps.right_area),
        ):
            assert shapely.equals(buildings.store.take(slice(None)), shapes[buildings.row]).all()
            np.testing.assert_allclose(area, shapely.area(shapes[buildings.row]))
            if len(buildings):
                assert buildings.columns["name"].tolist() == (buildings.row * 10).tolist()


def test_houses_that_merely_touch_or_overlap_a_little_make_no_endless_chain() -> None:
    before = boxes(*((8 * n, 0, 8 * n + 8.0, 10) for n in range(50)))
    after = boxes(*((8 * n + 0.6, 0, 8 * n + 8.6, 10) for n in range(50)))  # 7.5 % of the next
    linked = Linker().push(rows_of(before), rows_of(after), below=0)
    assert len(linked.overlaps.left) == 50
    assert (
        linked.before.row[linked.overlaps.left].tolist() == linked.after.row[linked.overlaps.right].tolist()
    )
    assert len(Linker(link_share=0.05).push(rows_of(before), rows_of(after), below=0).overlaps.left) == 99


def test_the_share_of_the_smaller_and_the_iou_link_only_above_their_limits() -> None:
    big, small = boxes((0, 0, 100, 100)), boxes((99, 0, 109, 10))  # 10 of 100 m2
    assert len(Linker(link_share=0.1).push(rows_of(big), rows_of(small), below=0).overlaps.left) == 0
    assert len(Linker(link_share=0.0999).push(rows_of(big), rows_of(small), below=0).overlaps.left) == 1
    one, other = boxes((0, 0, 21, 1)), boxes((19, 0, 40, 1))  # IoU 2 / 40
    for iou, count in ((0.05, 0), (0.0499, 1)):
        linked = Linker(link_share=1, link_iou=iou).push(rows_of(one), rows_of(other), below=0)
        assert len(linked.overlaps.left) == count


def test_the_rounding_of_coordinates_does_not_decide_at_a_limit() -> None:
    for x, y in np.random.default_rng(6).uniform(4e5, 5e6, (20, 2)).tolist():
        big, small = boxes((x, y, x + 70.7, y + 70.7)), boxes((x + 69.93, y, x + 77.63, y + 7.7))
        assert len(Linker().push(rows_of(big), rows_of(small), below=y - 1).overlaps.left) == 0


def test_a_building_waits_as_long_as_something_to_come_may_reach_it() -> None:
    linker = Linker()
    house, late = boxes((0, 10, 10, 20)), boxes((0, 5, 10, 15))
    assert len(linker.push(rows_of(house), rows_of(boxes()), below=15).before) == 0
    assert len(linker) == 1
    linked = linker.push(rows_of(boxes()), rows_of(late), below=5)
    assert (linked.before.row.tolist(), linked.after.row.tolist()) == ([0], [0])
    assert linked.overlaps.shared.tolist() == [50]


def test_what_touches_the_level_below_is_closed_as_nothing_shares_ground_with_it() -> None:
    assert len(Linker().push(rows_of(boxes((0, 10, 10, 20))), rows_of(boxes()), below=10).before) == 1


def test_buildings_that_come_too_late_or_a_level_that_rises_are_refused() -> None:
    linker, nothing = Linker(), rows_of(boxes())
    linker.push(nothing, nothing, below=10)
    for before, after in ((rows_of(boxes((0, 9, 1, 11))), nothing), (nothing, rows_of(boxes((0, 9, 1, 11))))):
        with pytest.raises(ValueError, match=r"y 11.0 comes after y 10"):
            linker.push(before, after, below=5)
    with pytest.raises(ValueError, match="y 12 comes after y 10"):
        linker.push(nothing, nothing, below=12)
    assert len(linker.push(rows_of(boxes((0, 9, 1, 10))), nothing, below=9).before) == 1


def test_limits_outside_of_0_to_1_are_refused() -> None:
    with pytest.raises(ValueError, match=r"link_share 1.5 is not within 0..1"):
        Linker(link_share=1.5)
    with pytest.raises(ValueError, match=r"link_iou -1 is not within 0..1"):
        Linker(link_iou=-1)


def test_nothing_gives_nothing_and_columns_are_kept_where_a_date_has_no_buildings() -> None:
    assert len(Linker().finish().before) == 0
    linked = Linker().push(rows_of(boxes()), rows_of(boxes((0, 0, 1, 1))), below=-np.inf)
    assert linked.before.columns["name"].dtype == np.int64
    assert linked.after.columns["name"].tolist() == [0]


def test_memory_holds_the_open_edge_of_a_long_country_only() -> None:
    rng = np.random.default_rng(3)
    linker, held, given_back = Linker(), [], []
    for strip in range(100):
        below = -20.0 * (strip + 1)
        low = np.column_stack([np.arange(40) * 15.0, below + rng.uniform(0, 10, 40)])
        shapes = np.asarray(shapely.box(*low.T, *(low + 10).T), object)
        rows = np.arange(40) + 40 * strip
        moved = shapely.transform(shapes, lambda corners: corners - [1, 0])
        linked = linker.push(*(buildings_of(some, rows, {}) for some in (shapes, moved)), below=below + 5)
        held.append(len(linker))
        given_back.append(linked.before)
    given_back.append(linker.finish().before)
    assert 20 < max(held) < 100  # 80 come with a strip
    assert sorted(gather(*given_back).row.tolist()) == list(range(40 * 100))


def pile(count: int, at: float = 0.0, others: int = 6_000) -> Buildings:
    """Give copies of one building, and others beside them."""
    corner = np.concatenate([np.full(count, at), 20.0 * np.arange(1, others + 1)])
    return rows_of(shapely.box(corner, 0, corner + 10, 10))


def test_copies_that_would_fill_the_memory_are_refused_saying_where() -> None:
    with pytest.raises(InputError, match=r"^5,000 buildings of BEFORE and 4,001 of AFTER .* at 0, 0$"):
        Linker().push(pile(5_000), pile(4_001, at=0.1), below=-1)


def test_many_buildings_and_a_few_copies_are_no_pile() -> None:
    linked = Linker().push(pile(3), pile(2), below=-1)
    assert len(linked.overlaps.left) == 6_000 + 3 * 2
    apart = Linker().push(pile(5_000, at=-30), pile(5_000, at=-15), below=-1)
    assert len(apart.overlaps.left) == 6_000
