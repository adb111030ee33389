"""The rule by which overlapping objects of windows become one set, case by case."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from buildmap.vector.instance_rules import (
    NOWHERE,
    Merging,
    find_first_matches,
    find_matches,
    find_parts,
    rank,
    suppress,
    unite,
)
from tests.unit.vector.seen import Saw, candidates_of

LEFT, RIGHT, LOWER = (0, 0, 60, 60), (40, 0, 100, 60), (0, 40, 60, 100)
RULES = Merging()


def saw(
    box: tuple[float, float, float, float],
    window: tuple[int, int, int, int],
    *,
    score: float = 0.5,
    cut: bool = False,
    class_id: int = 1,
) -> Saw:
    return shapely.box(*box), score, class_id, window, cut


def pairs_of(seen: list[Saw], find: object = find_matches, rules: Merging = RULES) -> list[tuple[int, int]]:
    found = find(candidates_of(seen), len(seen), rules)  # type: ignore[operator]
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_whole_objects_go_by_score_then_area_and_cut_ones_follow_by_area_then_score() -> None:
    seen = [
        saw((0, 0, 9, 9), LEFT, score=0.2, cut=True),
        saw((0, 0, 8, 8), LEFT, score=0.9, cut=True),
        saw((0, 0, 3, 3), LEFT, score=0.4),
        saw((0, 0, 2, 2), LEFT, score=0.6),
        saw((0, 0, 4, 4), LEFT, score=0.4),
        saw((0, 0, 9, 9), LEFT, score=0.3, cut=True),
    ]
    assert np.argsort(rank(candidates_of(seen))).tolist() == [3, 4, 2, 5, 0, 1]


@given(st.permutations(range(5)))
def test_equal_scores_and_areas_are_ordered_by_class_window_and_coordinates(order: list[int]) -> None:
    seen = [
        saw((0, 0, 2, 2), RIGHT, class_id=1),
        saw((1, 0, 3, 2), LEFT, class_id=2),
        saw((1, 0, 3, 2), RIGHT, class_id=2),
        saw((5, 0, 7, 2), RIGHT, class_id=2),
        saw((1, 0, 3, 2), LEFT, class_id=3),
    ]
    first_three = sorted(range(5), key=lambda index: rank(candidates_of(seen))[index])
    assert first_three[:2] == [0, 1] and first_three[4] == 4
    place = rank(candidates_of([seen[index] for index in order]))
    assert place.tolist() == [first_three.index(index) for index in order]


def test_iou_matches_from_the_threshold_on() -> None:
    one, other = saw((40, 0, 50, 10), LEFT, score=0.9), saw((40, 0, 50, 5), RIGHT)
    rules = Merging(containment_min=1.0, iou_min=0.5)
    contained = saw((41, 0, 51, 5), RIGHT)  # 45 of 105
    assert pairs_of([one, other], rules=rules) == [(0, 1)]
    assert pairs_of([one, contained], rules=rules) == []


def test_what_lies_in_a_larger_one_matches_by_the_share_of_the_smaller() -> None:
    large = saw((40, 0, 60, 20), LEFT, score=0.3)
    assert pairs_of([large, saw((50, 0, 60, 10), RIGHT)]) == [(1, 0)]
    assert pairs_of([large, saw((53, 0, 63, 10), RIGHT)]) == [(1, 0)]  # 0.7 of it
    assert pairs_of([large, saw((53.1, 0, 63.1, 10), RIGHT)]) == []


def test_a_cut_object_in_a_whole_one_matches_but_a_whole_one_in_a_larger_cut_one_does_not() -> None:
    whole, part = saw((30, 0, 70, 20), LOWER, score=0.1), saw((30, 0, 40, 20), LEFT, score=0.9, cut=True)
    assert pairs_of([whole, part]) == [(0, 1)]
    dormer, roof = saw((45, 5, 50, 10), LEFT, score=0.9), saw((40, 0, 90, 20), RIGHT, cut=True)
    assert pairs_of([dormer, roof]) == []
    nearly_as_large = saw((40, 0, 75, 20), LOWER, score=0.1)
    assert pairs_of([nearly_as_large, roof]) == [(0, 1)]


def test_objects_of_one_window_never_match_but_what_was_united_matches_all() -> None:
    twins = [saw((40, 0, 50, 10), LEFT), saw((40, 0, 50, 10), LEFT)]
    assert pairs_of(twins) == []
    nowhere = (NOWHERE,) * 4
    united = [saw((40, 0, 50, 10), nowhere, cut=True), saw((40, 0, 50, 11), nowhere, cut=True)]
    assert sorted(pairs_of([twins[0], *united])) == [(0, 1), (0, 2), (2, 1)]


def test_cut_objects_match_at_first_only_if_one_shows_nothing_beyond_the_window_of_the_other() -> None:
    left, right = saw((20, 0, 60, 10), LEFT, cut=True), saw((40, 0, 70, 10), RIGHT, cut=True)
    rules = Merging(containment_min=0.6)
    assert pairs_of([left, right], rules=rules) == [(0, 1)]
    assert pairs_of([left, right], find_first_matches, rules) == []
    fragment = saw((40, 0, 60, 10), RIGHT, cut=True)
    assert pairs_of([left, fragment], find_first_matches, rules) == [(0, 1)]
    whole = saw((20, 0, 60, 10), LEFT)
    assert pairs_of([whole, right], find_first_matches, rules) == [(0, 1)]


def test_parts_are_compared_on_the_ground_that_both_windows_see() -> None:
    left, right = saw((5, 0, 60, 10), LEFT, cut=True), saw((40, 0, 95, 10), RIGHT, cut=True)
    assert pairs_of([left, right], find_parts) == [(1, 0)] or pairs_of([left, right], find_parts) == [(0, 1)]
    beside = saw((40, 6, 95, 16), RIGHT, cut=True)  # 80 of 320
    assert pairs_of([left, beside], find_parts) == []
    assert pairs_of([left, saw((40, 0, 95, 10), RIGHT)], find_parts) == []
    assert pairs_of([left, saw((5, 0, 60, 10), LEFT, cut=True)], find_parts) == []


def test_only_what_stays_suppresses() -> None:
    seen = [
        saw((40, 0, 50, 10), LEFT, score=0.9),
        saw((43, 0, 53, 10), RIGHT, score=0.8),
        saw((46, 0, 56, 10), LEFT, score=0.7),
    ]
    candidates = candidates_of(seen)
    pairs = find_matches(candidates, 3, RULES)
    assert len(pairs.first) == 2
    assert suppress(candidates, pairs).score.tolist() == [0.9, 0.7]


def test_what_is_united_has_the_ground_of_all_parts_and_the_score_and_class_of_the_largest() -> None:
    seen = [
        saw((5, 0, 60, 10), LEFT, cut=True, score=0.3, class_id=7),
        saw((40, 0, 93, 10), RIGHT, cut=True, score=0.9, class_id=8),
        saw((5, 20, 10, 30), LEFT),
    ]
    candidates = candidates_of(seen)
    united = unite(candidates, find_parts(candidates, 3, RULES))
    assert united.polygons[0].equals(shapely.box(5, 0, 93, 10))
    assert (united.score[0], united.class_id[0], united.is_cut[0]) == (0.3, 7, True)
    assert (united.window[0] == NOWHERE).all()
    assert united.method.tolist() == ["united", "along"]
    np.testing.assert_array_equal(united.iou_raw, [np.nan, 0.9])
    assert (candidates.window[0] == LEFT).all() and candidates.method[0] == "along"
    assert united.polygons[1].equals(seen[2][0])
    assert candidates.polygons[0].equals(seen[0][0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iou_min": 0.0}, "within 0..1"),
        ({"containment_min": 1.1}, "within 0..1"),
        ({"iou_min": 0.4}, "above iou_min"),
        ({"margin_px": -1.0}, "below 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Merging(**settings)
