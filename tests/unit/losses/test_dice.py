"""Soft Dice on hard masks and at its limits."""

import pytest
import torch
from torch import Tensor

from buildmap.losses.dice import Dice

Scene = tuple[Tensor, Tensor, Tensor]


def test_is_one_minus_the_hard_dice_when_the_network_is_sure(scene: Scene) -> None:
    _, target, valid = scene
    prediction = torch.zeros_like(target)
    prediction[0] = 1
    hits = (prediction * target * valid).sum()
    expected = 1 - 2 * hits / (prediction * valid).sum().add((target * valid).sum())
    torch.testing.assert_close(Dice()((prediction[:, None] - 0.5) * 200, target, valid), expected)


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


def test_a_chip_without_a_building_lowers_the_dice_of_the_batch_by_what_is_predicted_on_it() -> None:
    target, valid = torch.zeros(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
    target[0] = 1
    logits = torch.full((2, 1, 4, 4), -200.0)
    logits[0] = 200
    assert Dice()(logits, target, valid).item() == 0
    logits[1, :, :2] = 200
    assert Dice()(logits, target, valid).item() == pytest.approx(1 - 2 * 16 / (24 + 16))
