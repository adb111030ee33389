import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as reference
from numpy.typing import NDArray

from buildmap.metrics.confusion import Confusion, count, macro_scores, scores


def random_masks(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    truth = rng.random((60, 70)) < 0.3
    return truth ^ (rng.random(truth.shape) < 0.1), truth, rng.random(truth.shape) < 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_agree_with_torchmetrics(seed: int) -> None:
    prediction, truth, counted = random_masks(seed)
    given = scores(count(prediction, truth, counted))
    pair = torch.from_numpy(prediction[counted]).int(), torch.from_numpy(truth[counted]).int()
    assert given.iou == pytest.approx(reference.binary_jaccard_index(*pair).item(), abs=1e-6)
    assert given.precision == pytest.approx(reference.binary_precision(*pair).item(), abs=1e-6)
    assert given.recall == pytest.approx(reference.binary_recall(*pair).item(), abs=1e-6)
    assert given.f1 == pytest.approx(reference.binary_f1_score(*pair).item(), abs=1e-6)
    assert given.accuracy == pytest.approx(reference.binary_accuracy(*pair).item(), abs=1e-6)


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


def test_an_empty_image_predicted_empty_scores_one() -> None:
    empty = scores(Confusion(tn=100))
    assert (empty.iou, empty.precision, empty.recall, empty.f1, empty.accuracy) == (1, 1, 1, 1, 1)


def test_one_false_pixel_in_an_empty_image_scores_next_to_nothing() -> None:
    assert scores(Confusion(fp=1, tn=99)).iou == pytest.approx(1e-4, rel=1e-3)


def test_the_epsilon_stands_above_and_below() -> None:
    assert Confusion(tp=1, fp=1, fn=2).iou == (1 + 1e-4) / (4 + 1e-4)
    assert Confusion(tp=1, fp=1, fn=2).f1 == (2 + 1e-4) / (5 + 1e-4)


def test_macro_counts_images_alike_and_micro_pixels() -> None:
    large, small = Confusion(tp=90, fp=10), Confusion(tn=1)
    assert macro_scores([large, small]).iou == pytest.approx((0.9 + 1) / 2, abs=1e-5)
    assert scores(large + small).iou == pytest.approx(0.9, abs=1e-5)
