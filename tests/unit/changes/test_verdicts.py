from itertools import product

import numpy as np
import pytest
import shapely
from hypothesis import given, strategies
from numpy.typing import NDArray

from buildmap.changes.verdicts import KINDS, Judging, Verdicts, judge
from buildmap.vector.matching import find_overlaps
from buildmap.vector.store import PolygonStore


def boxes(*corners: tuple[float, float, float, float]) -> NDArray[np.object_]:
    return np.array([shapely.box(*one) for one in corners], np.object_)


def verdicts(
    before: NDArray[np.object_], after: NDArray[np.object_], rules: Judging | None = None
) -> Verdicts:
    overlaps = find_overlaps(PolygonStore.gather([before]), PolygonStore.gather([after]))
    return judge(overlaps, rules or Judging())


def told(found: Verdicts) -> set[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Write out every case: what, buildings before, buildings after."""
    return {
        (
            KINDS[kind],
            tuple(np.flatnonzero(found.case_of_before == case).tolist()),
            tuple(np.flatnonzero(found.case_of_after == case).tolist()),
        )
        for case, kind in enumerate(found.kind)
    }


HOUSE = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([HOUSE], [HOUSE], {("same", (0,), (0,))}),
        ([HOUSE], [(1, 0, 11, 10)], {("same", (0,), (0,))}),
        ([HOUSE], [(0, 0, 14, 10)], {("enlarged", (0,), (0,))}),
        ([HOUSE], [(0, 0, 12, 10)], {("same", (0,), (0,))}),
        ([(0, 0, 14, 10)], [HOUSE], {("reduced", (0,), (0,))}),
        ([HOUSE], [(0, 0, 60, 10)], {("enlarged", (0,), (0,))}),
        ([HOUSE], [(0, 0, 70, 10)], {("gone", (0,), ()), ("new", (), (0,))}),
        ([HOUSE], [(4, 0, 14, 10)], {("reshaped", (0,), (0,))}),
        ([HOUSE], [(6, 0, 16, 10)], {("gone", (0,), ()), ("new", (), (0,))}),
        ([HOUSE], [(20, 0, 30, 10)], {("gone", (0,), ()), ("new", (), (0,))}),
        ([HOUSE], [(0, 0, 4.8, 10), (5.2, 0, 10, 10)], {("split", (0,), (0, 1))}),
        ([(0, 0, 5, 10), (5, 0, 10, 10)], [HOUSE], {("merged", (0, 1), (0,))}),
        ([HOUSE], [(0, 0, 9, 10), (9, 0, 10, 10)], {("split", (0,), (0, 1))}),
        ([HOUSE], [(0, 0, 9.8, 10), (9.8, 0, 10, 10)], {("same", (0,), (0,)), ("new", (), (1,))}),
        ([HOUSE], [(0, 0, 10, 10), (9, 9, 11.3, 11)], {("same", (0,), (0,)), ("new", (), (1,))}),
        ([], [HOUSE], {("new", (), (0,))}),
        ([HOUSE], [], {("gone", (0,), ())}),
        ([], [], set()),
    ],
)
def test_what_became_of_buildings(
    before: list[tuple[float, float, float, float]],
    after: list[tuple[float, float, float, float]],
    expected: set[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> None:
    assert told(verdicts(boxes(*before), boxes(*after))) == expected


def test_of_attached_houses_each_keeps_its_own() -> None:
    row = boxes(*[(10 * n, 0, 10 * n + 10, 10) for n in range(6)])
    assert told(verdicts(row, row)) == {("same", (n,), (n,)) for n in range(6)}


def test_a_house_that_took_in_its_neighbour_is_merged_and_the_next_stays() -> None:
    row = boxes(*[(10 * n, 0, 10 * n + 10, 10) for n in range(3)])
    after = boxes((0, 0, 20, 10), (20, 0, 30, 10))
    assert told(verdicts(row, after)) == {("merged", (0, 1), (0,)), ("same", (2,), (1,))}


def test_the_iou_of_a_split_is_that_of_all_its_parts() -> None:
    found = verdicts(boxes(HOUSE), boxes((0, 0, 4, 10), (6, 0, 10, 10)))
    assert found.iou == pytest.approx([0.8])


def test_rules_decide_what_is_enlarged_and_what_is_one() -> None:
    before, after = boxes(HOUSE), boxes((0, 0, 12, 10))
    assert told(verdicts(before, after, Judging(area_change=0.1))) == {("enlarged", (0,), (0,))}
    strict = Judging(iou_min=0.9, inside=1.1)
    assert told(verdicts(before, after, strict)) == {("gone", (0,), ()), ("new", (), (0,))}


@pytest.mark.parametrize("wrong", [{"iou_min": 0.0}, {"iou_min": 1.1}, {"area_change": 0.0}])
def test_senseless_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Judging(**wrong)


sides = strategies.tuples(*[strategies.integers(0, 12)] * 2, *[strategies.integers(2, 8)] * 2)
layouts = strategies.lists(sides.map(lambda s: (s[0], s[1], s[0] + s[2], s[1] + s[3])), max_size=6)


def explained_slowly(before: NDArray[np.object_], after: NDArray[np.object_], rules: Judging) -> set[object]:
    """Follow the rule with shapely, one explanation after the other."""
    ways = []
    for (i, b), (j, a) in product(enumerate(before), enumerate(after)):
        shared, iou = b.intersection(a).area, b.intersection(a).area / b.union(a).area
        contained = shared / min(a.area, b.area) >= rules.inside - 1e-9
        if shared and (iou >= rules.iou_min - 1e-9 or (contained and iou >= rules.iou_min / 2 - 1e-9)):
            growth = a.area / b.area
            kind = "reshaped" if iou < rules.reshaped_iou - 1e-9 else "same"
            kind = "enlarged" if growth > 1.25 + 1e-9 else "reduced" if growth < 0.8 - 1e-9 else kind
            ways.append((round(iou, 9), (kind, (i,), (j,))))
    for kind, wholes, others in (("split", before, after), ("merged", after, before)):
        for number, whole in enumerate(wholes):
            parts = [k for k, o in enumerate(others) if o.intersection(whole).area / o.area >= 0.5 - 1e-9]
            shared = sum(others[k].intersection(whole).area for k in parts)
            iou = min(shared / (whole.area + sum(others[k].area for k in parts) - shared), 1)
            if len(parts) > 1 and iou >= rules.iou_min - 1e-9:
                case = (kind, (number,), tuple(parts)) if kind == "split" else (kind, tuple(parts), (number,))
                ways.append((round(iou - rules.gain, 9), case))
    free = {("b", i) for i in range(len(before))} | {("a", j) for j in range(len(after))}
    cases: set[object] = set()
    for _, (kind, olds, news) in sorted(ways, key=lambda way: -way[0]):
        needed = {("b", i) for i in olds} | {("a", j) for j in news}
        if needed <= free:
            free -= needed
            cases.add((kind, olds, news))
    alone = {("gone", (i,), ()) if side == "b" else ("new", (), (i,)) for side, i in free}
    return cases | alone


@given(layouts, layouts)
def test_it_follows_the_rule_written_out(
    before: list[tuple[int, int, int, int]], after: list[tuple[int, int, int, int]]
) -> None:
    old, new = boxes(*before), boxes(*after)
    assert told(verdicts(old, new)) == explained_slowly(old, new, Judging())
