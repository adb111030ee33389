"""Validation against counting by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.metrics.confusion import Confusion
from buildmap.training.device import open_fabric
from buildmap.training.objective import to_tensors
from buildmap.training.validation import validate
from tests.unit.training.fakes import make_batch

CPU = open_fabric("cpu")


class Brightness(nn.Module):
    """Takes the first band for the logit."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


def test_pixels_are_counted_per_source_and_in_all() -> None:
    batches = [make_batch(1), make_batch(2, names=("south", "west"))]
    result = validate(Brightness(), CrossEntropy(), batches, CPU)
    expected: dict[str, list[int]] = {}
    for batch in batches:
        for index, name in enumerate(batch.names):
            table = expected.setdefault(name, [0, 0, 0, 0])
            for row, col in np.ndindex(16, 16):
                if batch.valid[index, row, col]:
                    said = batch.image[index, 0, row, col] >= 0
                    true = batch.target[index, row, col] == 1
                    table[[[3, 2], [1, 0]][int(said)][int(true)]] += 1
    counts = {name: Confusion(tp=t[0], fp=t[1], fn=t[2], tn=t[3]) for name, t in expected.items()}
    assert result.by_source == counts
    overall = np.sum(list(expected.values()), axis=0)
    tp, fp, fn, tn = overall
    assert result.scores is not None
    assert result.iou == result.scores.iou == pytest.approx(tp / (tp + fp + fn), abs=1e-6)
    assert result.scores.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-6)
    assert result.scores.balanced_accuracy == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2, abs=1e-6)


def test_a_probability_of_exactly_one_half_is_a_building() -> None:
    batch = make_batch(1)
    batch = replace(batch, image=np.zeros_like(batch.image), valid=np.ones_like(batch.valid))
    result = validate(Brightness(), CrossEntropy(), [batch], CPU)
    assert all(counts.fn == counts.tn == 0 for counts in result.by_source.values())
    assert result.loss == pytest.approx(np.log(2))


def test_without_validation_ground_there_is_no_score() -> None:
    result = validate(Brightness(), CrossEntropy(), [], CPU)
    assert (result.iou, result.scores, result.loss, result.by_source) == (None, None, None, {})


def test_running_means_stay_and_training_goes_on() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    validate(network, CrossEntropy(), [make_batch(1)], CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training


def test_tensors_hold_what_the_batch_holds() -> None:
    batch = make_batch(3)
    for tensor, array in zip(
        to_tensors(batch, torch.device("cpu")), (batch.image, batch.target, batch.valid), strict=True
    ):
        np.testing.assert_array_equal(tensor.numpy(), array)
