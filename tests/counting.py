"""How large a network is, and how much it computes, without computing it."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from buildmap.models import build_instances, build_model
from buildmap.preset import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """A network's size and work."""

    parameters: int
    """Learned numbers."""
    multiply_adds: int | None
    """Of convolutions and matrix products, for one image; the papers call them FLOPs. None where they depend
    on how many buildings there are."""


def count_cost(model: Model, bands: int, *, classes: int = 1, side_px: int = 512) -> NetworkCost:
    """Count for one square image; nothing is allocated, and no weights are fetched.

    Raises:
        MismatchError: If the network cannot be built.
    """
    unfetched = replace(model, encoder_weights=None)
    with torch.device("meta"):
        if model.instances is not None:
            return NetworkCost(parameters=_parameters(build_instances(unfetched, bands)), multiply_adds=None)
        network = build_model(unfetched, bands, classes).eval()
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, bands, side_px, side_px))
    return NetworkCost(parameters=_parameters(network), multiply_adds=counter.get_total_flops() // 2)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
