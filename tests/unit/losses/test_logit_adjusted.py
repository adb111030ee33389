"""The margin that the logit adjustment asks for."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.losses.logit_adjusted import LogitAdjustedCrossEntropy
from tests.unit.losses import oracles

Scene = tuple[Tensor, Tensor, Tensor]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("prior", [0.03, 0.1, 0.7])
def test_equals_the_pairwise_form_at_any_prior_and_temperature(
    prior: float, temperature: float, scene: Scene
) -> None:
    expected = oracles.pairwise_logit_adjusted(*scene, prior, temperature)
    assert LogitAdjustedCrossEntropy(prior, temperature)(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_zero_temperature_and_equal_priors_are_cross_entropy(scene: Scene) -> None:
    expected = CrossEntropy()(*scene)
    torch.testing.assert_close(LogitAdjustedCrossEntropy(0.1, 0.0)(*scene), expected)
    torch.testing.assert_close(LogitAdjustedCrossEntropy(0.5, 1.0)(*scene), expected)


def test_equals_cross_entropy_over_two_adjusted_logits(scene: Scene) -> None:
    logits, target, _ = scene
    two = torch.cat((torch.zeros_like(logits), logits), 1) + torch.tensor([0.9, 0.1]).log()[:, None, None]
    everywhere = torch.ones_like(target, dtype=torch.bool)
    expected = F.cross_entropy(two, target.long())
    torch.testing.assert_close(LogitAdjustedCrossEntropy(0.1, 1.0)(logits, target, everywhere), expected)


def test_an_undecided_network_is_pulled_nine_times_as_hard_towards_a_building() -> None:
    logits, valid = torch.zeros(1, 1, 1, 2, requires_grad=True), torch.ones(1, 1, 2, dtype=torch.bool)
    LogitAdjustedCrossEntropy(0.1, 1.0)(logits, torch.tensor([[[0.0, 1.0]]]), valid).backward()
    assert logits.grad is not None
    background, building = logits.grad.flatten().tolist()
    assert -building / background == pytest.approx(9, rel=1e-5)


def test_the_loss_is_least_where_adjusted_logits_say_how_common_buildings_are() -> None:
    """Of ground that is a building as often as the prior says, the network need not know anything."""
    target, valid = torch.zeros(1, 10, 10), torch.ones(1, 10, 10, dtype=torch.bool)
    target[0, 0] = 1
    loss = LogitAdjustedCrossEntropy(0.1, 1.0)
    at = {z: loss(torch.full((1, 1, 10, 10), z), target, valid).item() for z in (-0.2, 0.0, 0.2)}
    assert min(at, key=lambda z: at[z]) == 0.0
    assert at[0.0] == pytest.approx(-0.1 * math.log(0.1) - 0.9 * math.log(0.9), rel=1e-5)
