"""Cross-entropy where it is known in closed form."""

import pytest
import torch
from torch import Tensor

from buildmap.losses.cross_entropy import CrossEntropy

Scene = tuple[Tensor, Tensor, Tensor]


def test_the_gradient_is_probability_minus_truth_and_zero_where_invalid(scene: Scene) -> None:
    logits, target, valid = scene
    logits = torch.where(valid[:, None], logits, torch.nan).requires_grad_()
    CrossEntropy()(logits, target, valid).backward()
    expected = torch.where(valid, (logits[:, 0].sigmoid() - target) / valid.sum(), 0.0)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], expected.detach())


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
