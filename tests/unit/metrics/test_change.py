from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon, box
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from buildmap.errors import InputError
from buildmap.metrics.attributed import Attributed
from buildmap.metrics.change import (
    KINDS,
    STATUSES,
    ChangeCounts,
    ChangeSide,
    change_scores,
    count_changes,
    side_of,
)
from buildmap.vector.store import PolygonStore

SAID = (*STATUSES, "unobserved")
Row = tuple[Polygon, str, str | None, bool]
"""Polygon, status, kind, and whether it counts."""


def side(rows: Sequence[Row]) -> ChangeSide:
    polygons = np.array([row[0] for row in rows], object)
    columns = {
        "status": np.array([row[1] for row in rows], object),
        "kind": np.array([row[2] for row in rows], object),
    }
    layer = Attributed(
        path=Path("changes.gpkg"), store=PolygonStore.gather([polygons]), columns=columns, crs=None
    )
    return side_of(layer, np.array([row[3] for row in rows], np.bool_))


def house(
    place: float, status: str, kind: str | None = None, *, width: float = 10, counts: bool = True
) -> Row:
    return box(place, 0, place + width, 10), status, kind, counts


def count(predicted: Sequence[Row], true: Sequence[Row], iou_min: float = 0.5) -> ChangeCounts:
    return count_changes(side(predicted), side(true), iou_min=iou_min)


def naive_pairs(predicted: Sequence[Row], true: Sequence[Row], iou_min: float) -> list[tuple[int, int]]:
    """Take the best pair again and again; of equal ones, one that says the same."""
    candidates = []
    for i, (one, said, _, _) in enumerate(predicted):
        for j, (other, truth, _, _) in enumerate(true):
            iou = one.intersection(other).area / one.union(other).area
            if iou >= iou_min:
                candidates.append((-round(iou, 9), said != truth, i, j))
    pairs: list[tuple[int, int]] = []
    for _, _, i, j in sorted(candidates):
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return pairs


def naive(predicted: Sequence[Row], true: Sequence[Row], label: str, iou_min: float) -> tuple[int, int, int]:
    """Count found, invented and missed rows of one status or kind, row by row."""
    which = 1 if label in STATUSES else 2
    partner = dict(naive_pairs(predicted, true, iou_min))
    finder = {j: i for i, j in partner.items()}
    tp = fp = fn = 0
    for i, row in enumerate(predicted):
        if row[which] != label or row[1] not in STATUSES:
            continue
        if i not in partner:
            fp += row[3]
            continue
        other = true[partner[i]]
        if other[3] and other[1] in STATUSES:
            tp += other[which] == label
            fp += other[which] != label
    for j, row in enumerate(true):
        if row[which] != label or row[1] not in STATUSES or not row[3]:
            continue
        found = predicted[finder[j]] if j in finder else None
        fn += found is None or found[which] != label or found[1] not in STATUSES
    return tp, fp, fn


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    def row(place: int, shift: float) -> Row:
        width = draw(st.sampled_from([4.0, 6.0, 10.0]))
        status = draw(st.sampled_from(SAID))
        kind = draw(st.sampled_from([None, *KINDS]))
        return house(place * 7 + shift, status, kind, width=width, counts=draw(st.booleans()))

    places = draw(st.lists(st.integers(0, 5), min_size=1, max_size=7))
    shifts = st.floats(0, 5).map(lambda value: round(value, 4))
    true = [row(place, draw(shifts)) for place in places]
    predicted = [row(place, draw(shifts)) for place in draw(st.lists(st.sampled_from(places), max_size=7))]
    known = house(1000, "unchanged", counts=False)
    return [*predicted, known], [*true, known]


@settings(max_examples=150)
@given(layers())
def test_counts_are_those_of_a_count_row_by_row(both: tuple[list[Row], list[Row]]) -> None:
    scores = change_scores(count(*both), "one")
    for labels in (scores.statuses, scores.kinds or {}):
        for name, found in labels.items():
            assert (found.tp, found.fp, found.fn) == naive(*both, name, 0.5), name
            assert (found.true, found.predicted) == (found.tp + found.fn, found.tp + found.fp)


@settings(max_examples=60)
@given(layers(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_where_no_two_are_alike(
    both: tuple[list[Row], list[Row]], random: Random
) -> None:
    predicted, true = both
    areas = [round(a[0].intersection(b[0]).area / a[0].union(b[0]).area, 9) for a in predicted for b in true]
    shared = [iou for iou in areas if iou >= 0.5]
    if len(set(shared)) < len(shared):
        return
    counts = count(predicted, true)
    random.shuffle(predicted)
    random.shuffle(true)
    assert change_scores(count(predicted, true)) == change_scores(counts)


def test_where_every_row_has_a_partner_the_scores_are_those_of_a_classifier() -> None:
    rng = np.random.default_rng(4)
    said, truth = rng.choice(SAID[:4], (2, 300)).tolist()
    rows = [[house(20 * i, status) for i, status in enumerate(one)] for one in (said, truth)]
    scores = change_scores(count(rows[0], rows[1]), "one")
    expected = precision_recall_fscore_support(truth, said, labels=list(STATUSES), zero_division=1.0)
    found = scores.statuses.values()
    assert [one.precision for one in found] == pytest.approx(expected[0])
    assert [one.recall for one in found] == pytest.approx(expected[1])
    assert [one.f1 for one in found] == pytest.approx(expected[2])
    assert [one.true for one in found] == expected[3].tolist()
    table = [[scores.confusion[a][b] for b in STATUSES] for a in STATUSES]
    assert table == confusion_matrix(truth, said, labels=list(STATUSES)).tolist()


def test_a_change_of_another_status_is_a_change_all_the_same() -> None:
    true = [house(0, "added"), house(20, "removed"), house(40, "unchanged"), house(60, "changed")]
    predicted = [house(0, "changed"), house(20, "removed"), house(40, "added"), house(80, "removed")]
    change = change_scores(count(predicted, true), "one").change
    assert (change.true, change.predicted, change.tp, change.fp, change.fn) == (3, 4, 2, 2, 1)
    assert (change.precision, change.recall, change.f1) == (0.5, pytest.approx(2 / 3), pytest.approx(4 / 7))


def test_every_row_that_counts_has_its_place_in_the_table() -> None:
    true = [house(0, "added"), house(20, "removed"), house(40, "unchanged"), house(60, "unobserved")]
    predicted = [
        house(0, "unobserved"),
        house(20, "changed", "split"),
        house(60, "removed"),
        house(80, "added"),
    ]
    scores = change_scores(count(predicted, true))
    cells = {(a, b): n for a, row in scores.confusion.items() for b, n in row.items() if n}
    assert cells == {
        ("added", "other"): 1,
        ("removed", "changed"): 1,
        ("unchanged", "unmatched"): 1,
        ("unmatched", "added"): 1,
    }
    assert scores.set_aside == 1
    assert scores.not_scored == {"prediction": {"unobserved": 1}, "truth": {"unobserved": 1}}


def test_what_the_truth_does_not_know_is_neither_right_nor_wrong() -> None:
    true = [house(0, "unobserved"), house(20, "added")]
    alone = change_scores(count([house(20, "added")], true), "one")
    beside = change_scores(count([house(0, "removed"), house(20, "added")], true), "one")
    assert beside.statuses == alone.statuses and beside.change == alone.change
    assert (alone.set_aside, beside.set_aside) == (0, 1)


def test_what_the_prediction_leaves_open_is_missed_but_not_invented() -> None:
    scores = change_scores(
        count([house(0, "missing"), house(20, "added")], [house(0, "removed"), house(20, "added")]), "one"
    )
    removed = scores.statuses["removed"]
    assert (removed.true, removed.predicted, removed.fn) == (1, 0, 1)
    assert scores.change.fp == 0
    assert scores.confusion["removed"]["other"] == 1


def test_an_old_and_a_new_building_of_one_shape_are_not_taken_for_each_other() -> None:
    true = [house(0, "removed"), house(0, "added")]
    for predicted in (true, true[::-1]):
        statuses = change_scores(count(predicted, true), "one").statuses
        assert (statuses["removed"].f1, statuses["added"].f1) == (1, 1)


def test_the_lowest_overlap_of_a_pair_can_be_chosen() -> None:
    predicted, true = [house(0, "added")], [house(2.5, "added")]  # IoU 0.6
    assert change_scores(count(predicted, true, 0.6)).statuses["added"].tp == 1
    assert change_scores(count(predicted, true, 0.61)).statuses["added"].tp == 0


def test_a_pair_counts_where_its_true_row_does() -> None:
    outside = [house(0, "added", counts=False), house(20, "added", counts=False), house(40, "added")]
    inside = [house(0, "added"), house(60, "removed")]
    added = change_scores(count(outside, inside)).statuses["added"]
    assert (added.tp, added.fp, added.fn) == (1, 1, 0)
    added = change_scores(count(inside, outside)).statuses["added"]
    assert (added.tp, added.fp, added.fn) == (0, 0, 1)
    open_rows = [house(0, "missing", counts=False), house(20, "unobserved"), house(40, "added")]
    assert change_scores(count(open_rows, inside)).not_scored["prediction"] == {"unobserved": 1}


def test_kinds_are_scored_where_both_sides_tell_them() -> None:
    true = [house(0, "changed", "split"), house(20, "changed", "merged"), house(40, "unchanged")]
    predicted = [
        house(0, "changed", "split"),
        house(20, "changed", "reduced"),
        house(40, "changed", "reduced"),
    ]
    scores = change_scores(count(predicted, true), "one")
    assert scores.kinds is not None and scores.kind_confusion is not None
    assert {name: (one.tp, one.fp, one.fn) for name, one in scores.kinds.items()} == {
        "split": (1, 0, 0),
        "merged": (0, 0, 1),
        "enlarged": (0, 0, 0),
        "reduced": (0, 2, 0),
        "reshaped": (0, 0, 0),
    }
    assert scores.kind_confusion["other"]["reduced"] == scores.kind_confusion["merged"]["reduced"] == 1
    silent = replace(side(predicted), kind=None)
    scores = change_scores(count_changes(silent, side(true), iou_min=0.5))
    assert scores.kinds is scores.kind_confusion is None


def test_counts_of_several_pairs_add_up_to_those_of_both_on_one_map() -> None:
    one = [house(0, "added"), house(20, "unobserved")], [house(0, "removed"), house(40, "added")]
    other = [house(0, "changed", "split"), house(20, "x")], [house(0, "changed", "split"), house(20, "added")]
    far = [[(shapely.affinity.translate(row[0], 0, 500), *row[1:]) for row in rows] for rows in other]
    together = count([*one[0], *far[0]], [*one[1], *far[1]])
    added = count(*one) + count(*other)
    assert change_scores(added) == change_scores(together)
    assert added.others == ({"unobserved": 1, "x": 1}, {})
    assert (count(*one) + replace(count(*other), kinds=None)).kinds is None


def test_nothing_in_nothing_is_what_the_rule_says() -> None:
    counts = count([house(0, "unchanged")], [house(0, "unchanged")])
    assert change_scores(counts, "one").statuses["added"].f1 == 1
    assert np.isnan(change_scores(counts, "skip").statuses["added"].f1)
    assert change_scores(counts).statuses["added"].f1 == 1


def test_no_predicted_rows_find_nothing() -> None:
    scores = change_scores(count([], [house(0, "added")]), "one")
    assert (scores.statuses["added"].recall, scores.statuses["added"].predicted) == (0, 0)


def test_rows_without_any_known_status_are_refused_by_what_they_say() -> None:
    with pytest.raises(
        InputError, match=r"changes.gpkg: no row has a status .* new \(2\), null \(1\)$"
    ) as caught:
        side([house(0, "new"), house(20, "new"), house(40, None)])  # type: ignore[arg-type]
    assert caught.value.hint == "needed are added, removed, changed, unchanged"
