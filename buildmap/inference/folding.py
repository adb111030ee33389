"""Folding batch normalizations into convolutions: the same network, in fewer passes over memory."""

import logging

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

_LARGEST_DIFFERENCE = 1e-4
"""Of probabilities, between a network and its folded self."""

logger = logging.getLogger(__name__)


def fold_normalization(network: nn.Module, bands: int, stride: int) -> nn.Module:
    """Fold batch normalizations into their convolutions; where that cannot be, give the network as it is.

    Args:
        network: In evaluation mode, on the CPU.
        bands: Channels of the image.
        stride: Image sides are multiples of it.
    """
    try:
        folded = fuse(network)
    except (TraceError, TypeError, AttributeError, RuntimeError) as error:  # shapes decide what it computes
        logger.debug("normalizations stay: %s", error)
        return network
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, bands, 2 * stride, 3 * stride), generator=generator)
    with torch.inference_mode():
        difference = (network(image).sigmoid() - folded(image).sigmoid()).abs().max()
    return folded if difference <= _LARGEST_DIFFERENCE else network
