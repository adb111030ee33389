"""The exponential logarithmic loss where its powers are steep, and how it weighs classes."""

import math

import pytest
import torch
from torch import Tensor

from buildmap.losses.exponential_logarithmic import ExponentialLogarithmic


def with_gradient(logits: Tensor, target: Tensor) -> tuple[float, Tensor]:
    logits = logits.clone().requires_grad_()
    loss = ExponentialLogarithmic()(logits, target, torch.ones_like(target, dtype=torch.bool))
    loss.backward()
    assert logits.grad is not None
    return loss.item(), logits.grad


@pytest.mark.parametrize("logit", [30.0, 88.0, 100.0, 104.0, 60000.0])
def test_pixels_that_are_right_beyond_doubt_have_no_gradient_instead_of_an_infinite_one(
    logit: float,
) -> None:
    target = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])
    loss, gradient = with_gradient(logit * (2 * target[:, None] - 1), target)
    assert 0 <= loss < 1e-3
    assert gradient.abs().max() < 1e-3


def test_the_loss_of_a_nearly_perfect_network_keeps_its_digits() -> None:
    """Single precision rounds Dice to 1 from here on, and -ln 1 to the power 0.3 would be 0."""
    target = torch.zeros(1, 40, 40)
    target[0, :20] = 1
    logits = 18 * (2 * target[:, None] - 1)
    single, slope = with_gradient(logits, target)
    double, exact = with_gradient(logits.double(), target)
    assert double > 1e-3
    assert single == pytest.approx(double, rel=1e-4)
    torch.testing.assert_close(slope.double(), exact, rtol=1e-3, atol=0)


def test_worked_by_hand() -> None:
    """One building pixel among four, all said to be a building with probability one half."""
    target = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    building, background = (2 * 0.5 + 1) / (2 + 1 + 1), (2 * 1.5 + 1) / (2 + 3 + 1)
    dice = ((-math.log(building)) ** 0.3 + (-math.log(background)) ** 0.3) / 2
    cross = (math.sqrt(4 / 1) + 3 * math.sqrt(4 / 3)) * math.log(2) ** 0.3 / 4
    loss, _ = with_gradient(torch.zeros(1, 1, 1, 4), target)
    assert loss == pytest.approx(0.8 * dice + 0.2 * cross, rel=1e-5)


def test_a_class_that_is_absent_and_not_predicted_adds_next_to_nothing() -> None:
    target = torch.zeros(1, 8, 8)
    loss, _ = with_gradient(torch.full((1, 1, 8, 8), -60.0), target)
    assert loss < 1e-4


def test_a_missed_building_pixel_costs_more_the_rarer_buildings_are() -> None:
    slopes = []
    for buildings in (8, 32):
        target = torch.zeros(1, 8, 8)
        target.view(-1)[:buildings] = 1
        slopes.append(-with_gradient(torch.zeros(1, 1, 8, 8), target)[1][0, 0, 0, 0].item())
    assert slopes[0] > 1.5 * slopes[1]
