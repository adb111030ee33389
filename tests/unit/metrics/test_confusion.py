import math
from dataclasses import astuple

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, strategies
from numpy.typing import NDArray

from buildmap.metrics.confusion import (
    Confusion,
    EmptyRule,
    PixelScores,
    count,
    macro_scores,
    ratio,
    scores,
)

RULES: list[EmptyRule] = ["epsilon", "one", "skip"]
EDGES = [
    Confusion(tp=tp, fp=fp, fn=fn, tn=tn) for tp in (0, 2) for fp in (0, 3) for fn in (0, 5) for tn in (0, 7)
][1:]
"""Every way in which some of the four are missing, but not all."""


def pixels(confusion: Confusion) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Write out truth and prediction of every pixel."""
    c = confusion
    return np.repeat([1, 0, 1, 0], [c.tp, c.fp, c.fn, c.tn]), np.repeat(
        [1, 1, 0, 0], [c.tp, c.fp, c.fn, c.tn]
    )


def random_masks(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    truth = rng.random((60, 70)) < 0.3
    return truth ^ (rng.random(truth.shape) < 0.1), truth, rng.random(truth.shape) < 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    prediction, truth, counted = random_masks(seed)
    got = scores(count(prediction, truth, counted), "one")
    pair = truth[counted], prediction[counted]
    assert got.iou == pytest.approx(sk.jaccard_score(*pair), rel=1e-12)
    assert got.precision == pytest.approx(sk.precision_score(*pair), rel=1e-12)
    assert got.recall == pytest.approx(sk.recall_score(*pair), rel=1e-12)
    assert got.f1 == pytest.approx(sk.f1_score(*pair), rel=1e-12)
    assert got.accuracy == pytest.approx(sk.accuracy_score(*pair), rel=1e-12)


def test_counts_agree_with_counting_pixel_by_pixel() -> None:
    prediction, truth, counted = random_masks(3)
    kinds = [
        (bool(p), bool(t)) for p, t, c in zip(prediction.flat, truth.flat, counted.flat, strict=True) if c
    ]
    assert count(prediction, truth, counted) == Confusion(
        tp=kinds.count((True, True)),
        fp=kinds.count((True, False)),
        fn=kinds.count((False, True)),
        tn=kinds.count((False, False)),
    )


def test_counts_of_parts_add_up_to_the_whole() -> None:
    prediction, truth, counted = random_masks(4)
    parts = [count(prediction[r : r + 7], truth[r : r + 7], counted[r : r + 7]) for r in range(0, 60, 7)]
    assert sum(parts, Confusion()) == count(prediction, truth, counted)


def by_sklearn(truth: NDArray[np.int_], prediction: NDArray[np.int_], undefined: float) -> PixelScores:
    """Give scikit-learn's scores with `undefined` for nothing in nothing."""
    rest = {"labels": [0, 1], "average": None, "zero_division": undefined}
    _, precision = sk.precision_score(truth, prediction, **rest)
    specificity, recall = sk.recall_score(truth, prediction, **rest)
    _, f1 = sk.f1_score(truth, prediction, **rest)
    if math.isnan(undefined):  # which jaccard_score does not offer: IoU = F1 / (2 - F1)
        background_iou, iou = (f / (2 - f) for f in sk.f1_score(truth, prediction, **rest))
    else:
        background_iou, iou = sk.jaccard_score(truth, prediction, **rest)
    return PixelScores(
        iou=iou,
        f1=f1,
        dice=f1,
        precision=precision,
        recall=recall,
        accuracy=sk.accuracy_score(truth, prediction),
        balanced_accuracy=(recall + specificity) / 2,
        mean_iou=(iou + background_iou) / 2,
    )


@pytest.mark.parametrize("confusion", EDGES, ids=str)
@pytest.mark.parametrize(("rule", "undefined"), [("one", 1.0), ("skip", math.nan)])
def test_the_rules_without_epsilon_are_those_of_scikit_learn(
    confusion: Confusion, rule: EmptyRule, undefined: float
) -> None:
    expected = by_sklearn(*pixels(confusion), undefined)
    np.testing.assert_allclose(astuple(scores(confusion, rule)), astuple(expected), rtol=1e-12)


@pytest.mark.parametrize("confusion", [c for c in EDGES if c.tp + c.fn and c.tn + c.fp], ids=str)
def test_balanced_accuracy_and_mean_iou_are_scikit_learns_where_both_classes_are(
    confusion: Confusion,
) -> None:
    truth, prediction = pixels(confusion)
    got = scores(confusion, "skip")
    assert got.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(truth, prediction), rel=1e-12)
    assert got.mean_iou == pytest.approx(sk.jaccard_score(truth, prediction, average="macro"), rel=1e-12)


def test_balanced_accuracy_is_undefined_without_a_class_that_scikit_learn_leaves_out() -> None:
    buildings_only = Confusion(tp=3, fn=1)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert sk.balanced_accuracy_score(*pixels(buildings_only)) == 0.75  # the recall alone
    assert math.isnan(scores(buildings_only, "skip").balanced_accuracy)
    assert scores(buildings_only, "one").balanced_accuracy == 0.875


@pytest.mark.parametrize("confusion", [Confusion(), *EDGES], ids=str)
def test_sci_nets_epsilon_stands_above_and_below_every_fraction(confusion: Confusion) -> None:
    tp, fp, fn, tn = confusion.tp, confusion.fp, confusion.fn, confusion.tn
    e = 0.0001
    f1 = (2 * tp + e) / (2 * tp + fn + fp + e)
    expected = PixelScores(
        iou=(tp + e) / (tp + fp + fn + e),
        f1=f1,
        dice=f1,
        precision=(tp + e) / (tp + fp + e),
        recall=(tp + e) / (tp + fn + e),
        accuracy=(tp + tn + e) / (tp + fp + fn + tn + e),
        balanced_accuracy=((tp + e) / (tp + fn + e) + (tn + e) / (tn + fp + e)) / 2,
        mean_iou=((tp + e) / (tp + fp + fn + e) + (tn + e) / (tn + fp + fn + e)) / 2,
    )
    assert astuple(scores(confusion)) == pytest.approx(astuple(expected), rel=1e-12)
    assert confusion.iou == scores(confusion, "epsilon").iou


def test_an_empty_image_predicted_empty_scores_one_or_does_not_count() -> None:
    empty = Confusion(tn=100)
    for rule in ("epsilon", "one"):
        assert set(astuple(scores(empty, rule))) == {1.0}
    skipped = scores(empty, "skip")
    undefined = (skipped.iou, skipped.f1, skipped.precision, skipped.recall, skipped.balanced_accuracy)
    assert np.isnan(undefined).all()
    assert skipped.accuracy == 1


def test_one_false_pixel_in_an_empty_image_scores_next_to_nothing() -> None:
    false = Confusion(fp=1, tn=99)
    assert scores(false).iou == pytest.approx(1e-4, rel=1e-3)
    assert scores(false, "one").iou == scores(false, "skip").iou == 0
    assert (scores(false, "one").recall, scores(false, "one").precision) == (1, 0)


@given(
    strategies.lists(strategies.integers(0, 2**40), min_size=4, max_size=4), strategies.sampled_from(RULES)
)
def test_scores_are_shares_and_dice_is_f1(numbers: list[int], rule: EmptyRule) -> None:
    tp, fp, fn, tn = numbers
    got = scores(Confusion(tp=tp, fp=fp, fn=fn, tn=tn), rule)
    defined = [score for score in astuple(got) if not math.isnan(score)]
    assert all(0 <= score <= 1 for score in defined)
    assert len(defined) == 8 or (rule == "skip" and 0 in numbers)
    assert got.dice == got.f1 or (math.isnan(got.dice) and math.isnan(got.f1))


def test_macro_counts_images_alike_and_micro_pixels() -> None:
    large, small = Confusion(tp=90, fp=10), Confusion(tn=1)
    assert macro_scores([large, small]).iou == pytest.approx((0.9 + 1) / 2, abs=1e-5)
    assert scores(large + small).iou == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_macro_is_the_mean_of_the_images_that_define_a_score(rule: EmptyRule) -> None:
    table = np.array([astuple(scores(confusion, rule)) for confusion in EDGES])
    expected = [column[~np.isnan(column)].mean() for column in table.T]
    np.testing.assert_allclose(astuple(macro_scores(EDGES, rule)), expected, rtol=1e-12)
    assert np.isnan(table).any() == (rule == "skip")


def test_images_without_buildings_lift_macro_scores_unless_they_are_skipped() -> None:
    images = [Confusion(tp=1, fp=1), Confusion(tn=9), Confusion(tn=9)]
    assert macro_scores(images, "one").iou == pytest.approx(2.5 / 3)
    assert macro_scores(images, "skip").iou == 0.5
    assert math.isnan(macro_scores(images[1:], "skip").iou)


def test_no_images_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no images"):
        macro_scores([])


def test_a_share_of_nothing_is_what_the_rule_says() -> None:
    assert ratio(0, 0) == ratio(0, 0, "one") == 1
    assert math.isnan(ratio(0, 0, "skip"))
    assert ratio(1, 4, "one") == ratio(1, 4, "skip") == 0.25
    assert ratio(1, 4) == 1.0001 / 4.0001
