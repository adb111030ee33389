"""Logits with truth, some of it unknown."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (2, 1, 5, 7), target and valid (2, 5, 7)."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 1, 5, 7, generator=generator)
    target = torch.randint(0, 2, (2, 5, 7), generator=generator).float()
    valid = torch.rand(2, 5, 7, generator=generator) < 0.7
    return logits, target, valid
