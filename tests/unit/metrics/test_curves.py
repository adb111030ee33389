"""Precision against recall of buildings, held against scikit-learn and against counting one by one."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from buildmap.metrics.average_precision import Ranked
from buildmap.metrics.curves import building_curves
from buildmap.metrics.instances import IOU_STEPS


def ranked(scores: np.ndarray, hits: np.ndarray, *, truths: int, ignored: np.ndarray | None = None) -> Ranked:
    """Make a ranking; `hits` is (n,) the highest IoU of each footprint."""
    right = np.zeros(len(scores), np.uint16)
    for bit, step in enumerate(IOU_STEPS):
        right |= (hits >= step).astype(np.uint16) << bit
    wrong = ~right & 0x3FF
    if ignored is not None:
        wrong[ignored] = 0
    return Ranked(
        scores=scores,
        right=right[None],
        wrong=wrong.astype(np.uint16)[None],
        truths=np.array([truths]),
    )


def test_a_curve_is_that_of_scikit_learn_where_every_building_is_found_in_the_end() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(200)
    scores = np.round(rng.random(200), 2)  # many are equally sure
    truths = int((hits >= 0.5).sum())
    (curve,) = building_curves(ranked(scores, hits, truths=truths), (0.5,))
    precision, recall, thresholds = precision_recall_curve(hits >= 0.5, scores)
    np.testing.assert_allclose(curve.confidence, thresholds[::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])
    np.testing.assert_allclose(curve.precision, precision[-2::-1])


def test_a_stricter_curve_lies_below() -> None:
    rng = np.random.default_rng(1)
    loose, strict = building_curves(ranked(rng.random(90), rng.random(90), truths=100))
    assert (loose.iou_min, strict.iou_min) == (0.5, 0.75)
    assert (strict.recall <= loose.recall).all() and (strict.precision <= loose.precision).all()
    assert strict.recall[-1] < loose.recall[-1] < 1


def test_what_is_ignored_is_neither_right_nor_wrong() -> None:
    scores, hits = np.array([0.9, 0.8, 0.7]), np.array([0.0, 1.0, 0.0])
    (curve,) = building_curves(ranked(scores, hits, truths=2, ignored=np.array([True, False, False])), (0.5,))
    assert curve.recall.tolist() == [0, 0.5, 0.5]
    assert curve.precision.tolist() == [1, 1, 0.5]  # nothing judged yet, one right, one of two


@pytest.mark.parametrize(
    ("scores", "truths"), [([1.0, 1.0, 1.0], 3), ([0.5], 3), ([], 3), ([0.3, 0.4, 0.5], 0)]
)
def test_without_an_order_or_without_truth_there_is_no_curve(scores: list[float], truths: int) -> None:
    assert building_curves(ranked(np.array(scores), np.zeros(len(scores)), truths=truths)) == ()


def test_a_long_curve_keeps_its_ends_and_its_place() -> None:
    rng = np.random.default_rng(2)
    scores, hits = rng.permutation(5000) / 5000, rng.random(5000)
    (curve,) = building_curves(ranked(scores, hits, truths=4000), (0.5,))
    assert 100 < len(curve.recall) <= 400
    assert (curve.confidence[0], curve.confidence[-1]) == (scores.max(), scores.min())
    for recall, precision, least in zip(curve.recall, curve.precision, curve.confidence, strict=True):
        kept = hits[scores >= least]
        assert recall == (kept >= 0.5).sum() / 4000
        assert precision == (kept >= 0.5).mean()
