"""Folding changes how a network computes, and not what."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from buildmap.inference.folding import fold_normalization
from buildmap.models import build_model
from buildmap.preset import Model

MODEL = Model(name="lite", width=4, depth=3)
RNG = np.random.default_rng(0)


def trained(model: Model) -> nn.Module:
    """Make a network whose normalizations do something."""
    torch.manual_seed(0)
    network = build_model(model, 3, 1).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.bias)
    return network


@pytest.mark.parametrize("model", [MODEL, Model(name="unet", encoder="resnet18")], ids=["lite", "unet"])
def test_normalizations_are_folded_away_and_nothing_changes(model: Model) -> None:
    network = trained(model)
    folded = fold_normalization(network, 3, 32)
    assert not [part for part in folded.modules() if isinstance(part, nn.BatchNorm2d)]
    image = torch.from_numpy(RNG.standard_normal((1, 3, 64, 96)).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(folded(image).sigmoid(), network(image).sigmoid(), atol=1e-5, rtol=0)


class Undecided(nn.Module):
    """Cannot be traced: what it computes depends on the pixels."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1] if image.mean() > 0 else -image[:, :1]


class Counting(nn.Module):
    """Traces well, and computes something else the next time."""

    calls = 0

    def forward(self, image: Tensor) -> Tensor:
        Counting.calls += 1
        return image[:, :1] * Counting.calls


@pytest.mark.parametrize("network", [Undecided(), Counting()])
def test_a_network_that_tracing_would_change_is_left_as_it_is(network: nn.Module) -> None:
    assert fold_normalization(network, 3, 8) is network
