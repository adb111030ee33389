from collections.abc import Sequence

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import box

from buildmap.metrics.instances import (
    IOU_STEPS,
    Instances,
    InstanceScores,
    count_instances,
    count_over_iou,
    instance_scores,
    object_scores,
)
from buildmap.vector.matching import Matches, Overlaps, match

MATCHES = Matches(left=np.array([0, 3]), right=np.array([1, 0]), iou=np.array([0.9, 0.6]))
"""Of four predicted and three true buildings."""


def overlaps_of(left: Sequence[shapely.Polygon], right: Sequence[shapely.Polygon]) -> Overlaps:
    """Compare all with all."""
    one, other = np.array(left, object), np.array(right, object)
    shared = shapely.area(shapely.intersection(one[:, None], other[None]))
    rows, cols = np.nonzero(shared)
    return Overlaps(
        left=rows,
        right=cols,
        shared=shared[rows, cols],
        left_area=shapely.area(one),
        right_area=shapely.area(other),
    )


def crowd(rng: np.random.Generator, count: int) -> list[shapely.Polygon]:
    """Draw boxes that overlap each other."""
    low, size = rng.uniform(0, 30, (count, 2)), rng.uniform(2, 6, (count, 2))
    return list(shapely.box(low[:, 0], low[:, 1], *(low + size).T))


def town(rng: np.random.Generator, side: int) -> list[shapely.Polygon]:
    """Draw boxes that keep clear of each other."""
    low = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * 5.0
    low += rng.uniform(0, 1, low.shape)
    return list(shapely.box(low[:, 0], low[:, 1], *(low + rng.uniform(2, 3.9, low.shape)).T))


def moved(rng: np.random.Generator, polygons: list[shapely.Polygon], by: float) -> list[shapely.Polygon]:
    return [shapely.affinity.translate(one, *rng.uniform(-by, by, 2)) for one in polygons]


def spacenet(proposals: list[shapely.Polygon], truths: list[shapely.Polygon], iou_min: float) -> Instances:
    """Count as SpaceNet does: each proposal takes the best building left, if that is good enough."""
    free, tp = list(truths), 0
    for proposal in proposals:
        iou = [proposal.intersection(one).area / proposal.union(one).area for one in free]
        if iou and max(iou) >= iou_min:
            free.pop(int(np.argmax(iou)))
            tp += 1
    return Instances(tp=tp, fp=len(proposals) - tp, fn=len(truths) - tp)


def everywhere(overlaps: Overlaps) -> dict[str, NDArray[np.bool_]]:
    return {
        "prediction_counted": np.ones(len(overlaps.left_area), bool),
        "truth_counted": np.ones(len(overlaps.right_area), bool),
    }


def test_all_counted() -> None:
    every = count_instances(MATCHES, prediction_counted=np.ones(4, bool), truth_counted=np.ones(3, bool))
    assert every == Instances(tp=2, fp=2, fn=1)


def test_a_pair_on_the_rim_counts_where_its_true_building_does() -> None:
    prediction, truth = np.ones(4, bool), np.ones(3, bool)
    prediction[0] = False  # the middle of the prediction is outside, that of the truth inside
    truth[0] = False  # and the other way round
    counted = count_instances(MATCHES, prediction_counted=prediction, truth_counted=truth)
    assert counted == Instances(tp=1, fp=2, fn=1)


def test_outside_buildings_without_a_match_are_no_mistakes() -> None:
    nothing = count_instances(MATCHES, prediction_counted=np.zeros(4, bool), truth_counted=np.zeros(3, bool))
    assert nothing == Instances(tp=0, fp=0, fn=0)


def test_counts_add_up() -> None:
    assert Instances(tp=1, fp=2, fn=3) + Instances(tp=10, fp=20, fn=30) == Instances(tp=11, fp=22, fn=33)


def test_scores_of_a_case_worked_by_hand() -> None:
    given = instance_scores(Instances(tp=6, fp=2, fn=4))
    assert given.precision == pytest.approx(6 / 8, abs=1e-4)
    assert given.recall == pytest.approx(6 / 10, abs=1e-4)
    assert given.f1 == pytest.approx(12 / 18, abs=1e-4)


def test_nothing_found_where_nothing_is_scores_one_and_missing_all_scores_nothing() -> None:
    assert instance_scores(Instances()) == InstanceScores(precision=1, recall=1, f1=1)
    assert instance_scores(Instances(fn=5)).f1 < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_every_step_counts_what_a_matching_of_its_own_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = crowd(rng, 60)
    overlaps = overlaps_of(moved(rng, truths, 0.8) + crowd(rng, 20), truths)
    counted = {name: rng.random(len(flags)) < 0.7 for name, flags in everywhere(overlaps).items()}
    expected = [count_instances(match(overlaps, iou_min=step), **counted) for step in IOU_STEPS]
    assert list(count_over_iou(overlaps, **counted)) == expected
    assert expected[0].tp > expected[-1].tp


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_spacenet_where_true_buildings_keep_clear_of_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = town(rng, 7)
    proposals = moved(rng, truths, 0.9) + moved(rng, truths[::2], 0.5)
    rng.shuffle(proposals)
    overlaps = overlaps_of(proposals, truths)
    found = count_over_iou(overlaps, **everywhere(overlaps))
    expected = [spacenet(proposals, truths, step) for step in IOU_STEPS]
    assert list(found) == expected
    assert len(set(expected)) > 5


def test_where_both_layers_overlap_themselves_spacenet_depends_on_the_order_and_ours_does_not() -> None:
    # p fits x, and y a little less; q fits x best of all, and nothing else
    x, y, p, q = (box(left, 0, right, 1) for left, right in [(0, 10), (6, 14), (2.5, 12.5), (0, 9)])
    assert spacenet([p, q], [x, y], 0.5).tp == 1
    assert spacenet([q, p], [x, y], 0.5).tp == 2
    for proposals in ([p, q], [q, p]):
        overlaps = overlaps_of(proposals, [x, y])
        assert count_over_iou(overlaps, **everywhere(overlaps))[0].tp == 2


def test_the_best_pair_first_is_not_always_the_most_pairs() -> None:
    # q fits x best, and y well enough; p fits only x
    x, y, p, q = (box(left, 0, right, 1) for left, right in [(0, 10), (3, 14), (0, 7), (0.5, 10.5)])
    overlaps = overlaps_of([p, q], [x, y])
    assert spacenet([p, q], [x, y], 0.5).tp == 2
    assert count_over_iou(overlaps, **everywhere(overlaps))[0] == Instances(tp=1, fp=1, fn=1)


def test_exactly_the_step_is_enough_and_steps_are_twentieths() -> None:
    truths = [box(0, row, 20, row + 1) for row in range(10, 20)]
    proposals = [box(0, row, row, row + 1) for row in range(10, 20)]  # of 10, 11, .. 19 twentieths
    overlaps = overlaps_of(proposals, truths)
    found = [counts.tp for counts in count_over_iou(overlaps, **everywhere(overlaps))]
    assert found == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_the_rule_of_the_rim_holds_at_every_step() -> None:
    same = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    inside = np.array([True, False])
    counts = count_over_iou(overlaps_of(same, same), prediction_counted=~inside, truth_counted=inside)
    assert counts == (Instances(tp=1, fp=0, fn=0),) * len(IOU_STEPS)


def test_object_scores_are_spacenets_f1_and_its_mean_over_the_steps() -> None:
    rng = np.random.default_rng(7)
    truths = town(rng, 8)
    proposals = moved(rng, truths, 0.6)[5:] + crowd(rng, 4)
    overlaps = overlaps_of(proposals, truths)
    given = object_scores(count_over_iou(overlaps, **everywhere(overlaps)), "one")
    f1 = []
    for step, scores in zip(IOU_STEPS, given.by_iou, strict=True):
        counts = spacenet(proposals, truths, step)
        precision, recall = counts.tp / len(proposals), counts.tp / len(truths)
        f1.append(2 * precision * recall / (precision + recall) if counts.tp else 0)
        assert (scores.iou_min, scores.tp, scores.fp, scores.fn) == (step, counts.tp, counts.fp, counts.fn)
        assert (scores.precision, scores.recall) == pytest.approx((precision, recall), abs=1e-12)
        assert scores.f1 == pytest.approx(f1[-1], abs=1e-12)
    assert given.at_50.f1 == pytest.approx(f1[0], abs=1e-12)
    assert given.f1_50_95 == pytest.approx(np.mean(f1), abs=1e-12)
    assert f1[0] > np.mean(f1) + 0.1


def test_the_rule_decides_what_nothing_in_nothing_is_worth() -> None:
    nothing = [Instances()] * len(IOU_STEPS)
    assert (object_scores(nothing).f1_50_95, object_scores(nothing, "one").f1_50_95) == (1, 1)
    assert np.isnan(object_scores(nothing, "skip").f1_50_95)
    assert np.isnan(instance_scores(Instances(fn=3), "skip").precision)
    assert instance_scores(Instances(fn=3), "skip").recall == 0


def test_object_scores_need_one_count_a_step() -> None:
    with pytest.raises(ValueError, match="shorter"):
        object_scores([Instances()] * 9)
