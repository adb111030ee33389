from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from shapely.geometry import MultiPolygon, Polygon, box

from buildmap.errors import InputError
from buildmap.metrics.attributed import Attributed
from buildmap.metrics.tracks import (
    BETA,
    IOU_MIN,
    Found,
    Scot,
    Sighting,
    found_on,
    match_most,
    scot,
    sight,
    standing,
)
from buildmap.vector.matching import find_overlaps
from buildmap.vector.store import PolygonStore

Date = list[tuple[str, Polygon]]
"""Id and outline of each building."""
Shapes = list[tuple[str, Polygon | MultiPolygon]]


def store(polygons: Sequence[Polygon]) -> PolygonStore:
    return PolygonStore.gather([np.array(polygons, object)])


def one_date(predicted: Date, true: Date, iou_min: float = IOU_MIN) -> Sighting:
    left, right = (
        (store([polygon for _, polygon in date]), np.array([name for name, _ in date], np.str_))
        for date in (predicted, true)
    )
    return sight(left, right, iou_min=iou_min)


def house(place: float, shift: float = 0) -> Polygon:
    return box(place * 20 + shift, 0, place * 20 + shift + 10, 10)


def score(predicted: Sequence[Date], true: Sequence[Date]) -> Scot:
    return scot([one_date(*both) for both in zip(predicted, true, strict=True)])


def published(
    predicted: Sequence[Shapes], true: Sequence[Shapes], beta: float = 2.0
) -> tuple[float, list[float]]:
    """Go through the published steps, date by date and footprint by footprint, with its faults mended.

    One assignment for all footprints of a date, reward 100 + IoU; the list of all matches, searched for the
    last one of the same building; new buildings by sets. A term of nothing in nothing is 1.
    """
    matched: list[list[tuple[str, str]]] = []
    tp = fp = fn = 0
    for found, wanted in zip(predicted, true, strict=True):
        reward = np.zeros((len(wanted), len(found)))
        for row, (_, one) in enumerate(wanted):
            for col, (_, other) in enumerate(found):
                shared = one.intersection(other).area
                iou = round(shared / (one.area + other.area - shared), 9)
                reward[row, col] = 100 + iou if iou >= 0.25 else 0
        pairs = zip(*linear_sum_assignment(reward, maximize=True), strict=True)
        matched.append([(wanted[row][0], found[col][0]) for row, col in pairs if reward[row, col] > 0])
        tp += len(matched[-1])
        fp += len(found) - len(matched[-1])
        fn += len(wanted) - len(matched[-1])
    newest_first = [pair for pairs in reversed(matched) for pair in pairs]
    mismatches = 0
    for place, (true_id, found_id) in enumerate(newest_first):
        before = newest_first[place + 1 :]
        partners = [other for name, other in before if name == true_id][:1]
        owners = [name for name, other in before if other == found_id][:1]
        mismatches += partners not in ([], [found_id]) or owners not in ([], [true_id])
    new_tp = new_fp = new_fn = 0
    for date in range(1, len(true)):
        seen_true = {name for earlier in true[:date] for name, _ in earlier}
        seen_found = {name for earlier in predicted[:date] for name, _ in earlier}
        for name, _ in true[date]:
            partner = dict(matched[date]).get(name)
            if name not in seen_true:
                new_tp += partner is not None and partner not in seen_found
                new_fn += partner is None or partner in seen_found
        for name, _ in predicted[date]:
            partner = {found: wanted for wanted, found in matched[date]}.get(name)
            new_fp += name not in seen_found and (partner is None or partner in seen_true)
    track_tp, track_wrong = tp - mismatches, fp + fn + 2 * mismatches
    tracking = track_tp / (track_tp + track_wrong / 2) if track_tp + track_wrong else 1.0
    change = new_tp / (new_tp + (new_fp + new_fn) / 2) if new_tp + new_fp + new_fn else 1.0
    below = beta**2 * change + tracking
    combined = (1 + beta**2) * change * tracking / below if below else 0.0
    return combined, [tp, fp, fn, mismatches, tracking, new_tp, new_fp, new_fn, change]


@st.composite
def series(draw: st.DrawFn) -> tuple[list[Date], list[Date]]:
    """Draw buildings that come and go, and a prediction that is shifted, incomplete and unsure of ids."""
    count = draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    change_of_id, loss = draw(st.sampled_from([0.0, 0.1, 0.5])), draw(st.sampled_from([0.0, 0.2, 0.6]))
    true: list[Date] = []
    predicted: list[Date] = []
    for _ in range(count):
        there = np.flatnonzero(rng.random(6) > loss)
        true.append([(f"t{place}", _drawn(rng, place)) for place in there])
        seen = [place for place in range(6) if rng.random() > loss]
        names = np.where(rng.random(6) < change_of_id, rng.integers(0, 9, 6), np.arange(6))
        date: Date = []
        for place in seen:
            if (name := f"p{names[place]}") not in dict(date):
                date.append((name, _drawn(rng, place)))
        predicted.append(date)
    return predicted, true


def _drawn(rng: np.random.Generator, place: int) -> Polygon:
    """Draw a building on its place, which may reach onto its neighbours'."""
    left, bottom = place * 4 + rng.uniform(-2, 2), rng.uniform(0, 2)
    return box(left, bottom, left + rng.uniform(3, 8), bottom + rng.uniform(4, 6))


@settings(max_examples=150)
@given(series())
def test_every_number_is_that_of_the_published_steps(both: tuple[list[Date], list[Date]]) -> None:
    combined, numbers = published(*both)
    found = score(*both)
    buildings, change = found.buildings, found.change
    assert [buildings.tp, buildings.fp, buildings.fn, found.mismatches] == numbers[:4]
    assert [change.tp, change.fp, change.fn] == numbers[5:8]
    assert [found.tracking.f1, change.f1] == pytest.approx([numbers[4], numbers[8]], abs=1e-12)
    assert found.score == pytest.approx(combined, abs=1e-12)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.25, 0.5]))
def test_no_other_choice_gives_more_pairs_or_as_many_better_ones(seed: int, iou_min: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = ([_drawn(rng, place // 2) for place in range(5)] for _ in range(2))
    overlaps = find_overlaps(store(one), store(other))
    matches = match_most(overlaps, iou_min=iou_min)
    iou = np.zeros((5, 5))
    iou[overlaps.left, overlaps.right] = overlaps.iou
    able = np.where(iou >= iou_min, iou, 0)
    choices = [able[np.arange(5), list(order)] for order in permutations(range(5))]
    best = max((int((choice > 0).sum()), round(choice.sum(), 6)) for choice in choices)
    assert (len(matches.iou), round(matches.iou.sum(), 6)) == best
    assert len(set(matches.left.tolist())) == len(set(matches.right.tolist())) == len(matches.iou)
    assert matches.iou.tolist() == iou[matches.left, matches.right].tolist()


def test_two_are_matched_where_the_best_pair_would_leave_one_alone() -> None:
    one, other = [box(0, 0, 10, 10), box(-8, 0, 2, 10)], [box(-2, 0, 8, 10), box(4, 0, 14, 10)]
    matches = match_most(find_overlaps(store(one), store(other)), iou_min=0.25)
    assert list(zip(matches.left.tolist(), matches.right.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_a_perfect_prediction_is_1_whatever_its_ids_are_called() -> None:
    true = [[("a", house(0))], [("a", house(0)), ("b", house(1))]]
    predicted = [[("17", house(0))], [("17", house(0)), ("3", house(1))]]
    found = score(predicted, true)
    assert (found.score, found.tracking.f1, found.change.f1, found.mismatches) == (1, 1, 1, 0)


def test_a_building_that_changes_its_id_is_a_mismatch_and_falsely_new() -> None:
    true = [[("a", house(0)), ("b", house(1))]] * 2
    predicted = [[("1", house(0)), ("2", house(1))], [("1", house(0)), ("9", house(1))]]
    found = score(predicted, true)
    assert found.mismatches == 1
    assert found.buildings == Found(tp=4, fp=0, fn=0)
    assert found.tracking == Found(tp=3, fp=1, fn=1)
    assert found.change == Found(tp=0, fp=1, fn=0)
    assert found.score == 0


def test_what_counts_is_the_last_match_and_not_the_first() -> None:
    true = [[("a", house(0))]] * 4
    predicted = [[(name, house(0))] for name in ("1", "2", "2", "1")]
    assert score(predicted, true).mismatches == 2
    gap = [[("1", house(0))], [], [("1", house(0))], [("1", house(0))]]
    assert score(gap, true).mismatches == 0


def test_an_id_that_moves_to_another_building_is_a_mismatch() -> None:
    true = [[("a", house(0)), ("b", house(1))]] * 2
    predicted = [[("1", house(0))], [("1", house(1))]]
    assert score(predicted, true).mismatches == 1


def test_tracking_weighs_more_than_change() -> None:
    old = [(str(place), house(place)) for place in range(8)]
    new = [("new", house(9))]
    untracked = score([[], [*old, *new]], [old, [*old, *new]])
    unseen = score([old, old], [old, [*old, *new]])
    assert untracked.change.f1 == pytest.approx(2 / 10)
    assert untracked.score == pytest.approx(5 * 0.2 * 18 / 26 / (4 * 0.2 + 18 / 26))
    assert (unseen.change.f1, unseen.score) == (0, 0)
    assert BETA == 2


def test_nothing_new_and_nothing_invented_is_1() -> None:
    still = [[("a", house(0))]] * 3
    assert score(still, still).score == 1
    empty: list[Date] = [[], []]
    assert score(empty, empty).score == 1


def test_what_is_invented_on_a_date_without_true_buildings_costs() -> None:
    """The published code has no such date: it reads the dates from the rows of the truth."""
    true: list[Date] = [[("a", house(0))], [], [("a", house(0))]]
    invented: list[Date] = [[("1", house(0))], [("2", house(5)), ("3", house(6))], [("1", house(0))]]
    found = score(invented, true)
    assert found.buildings == Found(tp=2, fp=2, fn=0)
    assert found.change == Found(tp=0, fp=2, fn=0)


def test_buildings_after_an_empty_first_date_are_new() -> None:
    found = score([[], [("1", house(0))]], [[], [("a", house(0))]])
    assert found.change == Found(tp=1, fp=0, fn=0)


def test_the_parts_of_one_id_are_one_building() -> None:
    whole, halves = box(0, 0, 10, 10), [box(0, 0, 10, 4), box(0, 6, 10, 10)]
    sighting = one_date([("1", halves[0]), ("1", halves[1])], [("a", whole)])
    assert found_on(sighting) == Found(tp=1, fp=0, fn=0)
    union = shapely.union_all(halves)
    assert sighting.matches.iou.tolist() == [union.intersection(whole).area / union.union(whole).area]


@pytest.mark.parametrize(("width", "found"), [(40, 1), (41, 0)])
def test_the_lowest_overlap_is_included(width: float, found: int) -> None:
    assert found_on(one_date([("1", box(0, 0, 10, 10))], [("a", box(0, 0, width, 10))])).tp == found


def test_one_date_is_no_series() -> None:
    with pytest.raises(ValueError, match="two dates"):
        score([[]], [[]])


def layer(ids: Sequence[object], statuses: Sequence[str | None] | None = None) -> Attributed:
    columns = {"id": np.array(ids)}
    if statuses is not None:
        columns["status"] = np.array(statuses, object)
    polygons = store([house(place) for place in range(len(ids))])
    return Attributed(path=Path("may.gpkg"), store=polygons, columns=columns, crs=None)


def test_removed_rows_are_no_buildings_any_more() -> None:
    changes = layer([1, 2, 3, 4], ["added", "removed", "missing", None])
    polygons, ids = standing(changes, "id")
    assert ids.tolist() == ["1", "3", "4"]
    assert polygons.bounds[:, 0].tolist() == [0, 40, 60]


@pytest.mark.parametrize("ids", [[7, 8], [7.0, 8.0], ["7", " 8 "]])
def test_an_id_is_the_same_whatever_type_it_is_of(ids: list[object]) -> None:
    assert standing(layer(ids), "id")[1].tolist() == ["7", "8"]


@pytest.mark.parametrize("ids", [[1.0, np.nan, 2.5], ["a", "", "b"], np.array(["a", None, "b"], object)])
def test_a_building_without_an_id_is_refused(ids: Sequence[object]) -> None:
    with pytest.raises(InputError, match=r"may.gpkg: 1 of 3 buildings have no 'id'"):
        standing(layer(ids), "id")
