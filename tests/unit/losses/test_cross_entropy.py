"""Cross-entropy against its definition, pixel by pixel in double precision."""

import math

import pytest
import torch
from torch import Tensor

from buildmap.losses.cross_entropy import CrossEntropy

Scene = tuple[Tensor, Tensor, Tensor]


def direct(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    """Sum -log of the probability given to the truth."""
    terms = []
    for logit, truth, counts in zip(
        logits.flatten().tolist(), target.flatten().tolist(), valid.flatten().tolist(), strict=True
    ):
        if counts:
            probability = 1 / (1 + math.exp(-logit))
            terms.append(-math.log(probability if truth else 1 - probability))
    return sum(terms) / len(terms)


def test_equals_the_direct_formula(scene: Scene) -> None:
    assert CrossEntropy()(*scene).item() == pytest.approx(direct(*scene), rel=1e-5)


def test_what_stands_in_invalid_pixels_changes_nothing(scene: Scene) -> None:
    logits, target, valid = scene
    other = torch.where(valid[:, None], logits, torch.nan)
    torch.testing.assert_close(CrossEntropy()(other, 1 - (1 - target) * valid, valid), CrossEntropy()(*scene))


def test_the_gradient_is_probability_minus_truth_and_zero_where_invalid(scene: Scene) -> None:
    logits, target, valid = scene
    logits = torch.where(valid[:, None], logits, torch.nan).requires_grad_()
    CrossEntropy()(logits, target, valid).backward()
    expected = torch.where(valid, (logits[:, 0].sigmoid() - target) / valid.sum(), 0.0)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], expected.detach())


def test_no_valid_pixel_is_no_loss_and_no_gradient(scene: Scene) -> None:
    logits, target, valid = scene
    logits.requires_grad_()
    loss = CrossEntropy()(logits, target, torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("logit", [-30.0, 30.0])
def test_half_precision_is_exact_at_confident_logits(dtype: torch.dtype, logit: float) -> None:
    logits = torch.full((2, 1, 300, 300), logit, dtype=dtype, requires_grad=True)
    target, valid = torch.zeros(2, 300, 300), torch.ones(2, 300, 300, dtype=torch.bool)
    loss = CrossEntropy()(logits, target, valid)
    loss.backward()
    assert loss.item() == pytest.approx(max(logit, 0), abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
