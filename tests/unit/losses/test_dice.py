"""Soft Dice against its definition, and at its limits."""

import math

import pytest
import torch
from torch import Tensor

from buildmap.losses.dice import Dice

Scene = tuple[Tensor, Tensor, Tensor]


def direct(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    """Sum over pixels, one after the other."""
    overlap = total = 0.0
    for logit, truth, counts in zip(
        logits.flatten().tolist(), target.flatten().tolist(), valid.flatten().tolist(), strict=True
    ):
        if counts:
            probability = 1 / (1 + math.exp(-logit))
            overlap += probability * truth
            total += probability + truth
    return 1 - 2 * overlap / total


def test_equals_the_direct_formula(scene: Scene) -> None:
    assert Dice()(*scene).item() == pytest.approx(direct(*scene), rel=1e-5)


def test_is_one_minus_the_hard_dice_when_the_network_is_sure(scene: Scene) -> None:
    _, target, valid = scene
    prediction = torch.zeros_like(target)
    prediction[0] = 1
    hits = (prediction * target * valid).sum()
    expected = 1 - 2 * hits / (prediction * valid).sum().add((target * valid).sum())
    torch.testing.assert_close(Dice()((prediction[:, None] - 0.5) * 200, target, valid), expected)


def test_what_stands_in_invalid_pixels_changes_nothing(scene: Scene) -> None:
    logits, target, valid = scene
    other = torch.where(valid[:, None], logits, torch.nan)
    torch.testing.assert_close(Dice()(other, 1 - (1 - target) * valid, valid), Dice()(*scene))


def test_the_gradient_agrees_with_differences_and_is_zero_where_invalid(scene: Scene) -> None:
    logits, target, valid = scene
    logits = torch.where(valid[:, None], logits, torch.nan).requires_grad_()
    Dice()(logits, target, valid).backward()
    assert logits.grad is not None
    assert not logits.grad[:, 0][~valid].any()
    place = tuple(valid.nonzero()[3].tolist())
    step = torch.zeros_like(target)
    step[place] = 1e-2
    with torch.no_grad():
        slope = (
            direct(logits + step[:, None], target, valid) - direct(logits - step[:, None], target, valid)
        ) / 2e-2
    assert logits.grad[:, 0][place].item() == pytest.approx(slope, rel=1e-3)


def test_no_valid_pixel_is_no_loss_and_no_gradient(scene: Scene) -> None:
    logits, target, valid = scene
    logits.requires_grad_()
    loss = Dice()(logits, target, torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("logit", "expected"), [(-30.0, 1.0), (30.0, 0.0)])
def test_half_precision_is_right_at_confident_logits(
    dtype: torch.dtype, logit: float, expected: float
) -> None:
    logits = torch.full((2, 1, 300, 300), logit, dtype=dtype, requires_grad=True)
    target, valid = torch.ones(2, 300, 300), torch.ones(2, 300, 300, dtype=torch.bool)
    loss = Dice()(logits, target, valid)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_no_building_anywhere_and_none_predicted_stays_finite() -> None:
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    loss = Dice()(logits, torch.zeros(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
