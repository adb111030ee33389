"""The noise-robust Dice loss between its two limits."""

import pytest
import torch
from torch import Tensor

from buildmap.losses.noise_robust_dice import NoiseRobustDice
from tests.unit.losses import oracles

Scene = tuple[Tensor, Tensor, Tensor]


def test_with_exponent_two_is_one_minus_dice_with_squares_below(scene: Scene) -> None:
    logits, target, valid = scene
    probability, truth = logits[:, 0].sigmoid()[valid], target[valid]
    squared_dice = 2 * (probability * truth).sum() / (probability**2 + truth**2).sum()
    torch.testing.assert_close(NoiseRobustDice(2.0)(*scene), 1 - squared_dice)


def test_with_exponent_one_is_a_weighted_absolute_error(scene: Scene) -> None:
    logits, target, valid = scene
    probability, truth = logits[:, 0].sigmoid()[valid], target[valid]
    expected = (probability - truth).abs().sum() / (probability**2 + truth**2).sum()
    torch.testing.assert_close(NoiseRobustDice(1.0)(*scene), expected)


@pytest.mark.parametrize("exponent", [1.0, 1.2, 1.9, 2.0])
def test_equals_the_direct_formula_at_any_exponent(exponent: float, scene: Scene) -> None:
    expected = oracles.noise_robust_dice(*scene, exponent)
    assert NoiseRobustDice(exponent)(*scene).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_sure_pixels_have_no_gradient_at_any_exponent(exponent: float) -> None:
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0]).reshape(1, 1, 2, 2).requires_grad_()
    target, valid = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.ones(1, 2, 2, dtype=torch.bool)
    NoiseRobustDice(exponent)(logits, target, valid).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("building_share", "falls"), [(0.02, True), (0.3, False)])
def test_falls_as_background_grows_more_likely_where_hardly_anything_is_annotated(
    building_share: float, falls: bool
) -> None:
    target, valid = torch.zeros(1, 10, 50), torch.ones(1, 10, 50, dtype=torch.bool)
    target.view(-1)[: round(building_share * 500)] = 1
    logits = torch.zeros(1, 1, 10, 50, requires_grad=True)
    NoiseRobustDice(1.5)(logits, target, valid).backward()
    assert logits.grad is not None
    assert bool(logits.grad[0, 0, -1, -1] < 0) == falls
