"""Mixed precision ends where it is not to reach."""

import pytest
import torch

from buildmap.models.blocks.precision import full_precision


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_are_computed_as_they_come_within_autocast(device: str) -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(x.to(device)):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
