"""From the features of a region of interest to one logit for each of its cells, twice as fine."""

import math

import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads

_CONVS = 4
"""Convolutions at the region's own resolution, as in Mask R-CNN and CenterMask."""
_LAST_STD = 0.01
"""Of the last weights, so that all logits start near the one of the prior."""


class SpatialAttention(nn.Module):
    """Weighs the cells of a region by what stands out there (Lee & Park 2020, equation 3, SAG-Mask)."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, C, H, W) to the same shape."""
        pooled = torch.cat(
            [features.amax(dim=1, keepdim=True), features.mean(dim=1, keepdim=True)], dim=1
        )  # (n, 2, H, W)
        weights: Tensor = self.weigh(pooled).sigmoid()
        return features * weights


class RoiHead(nn.Module):
    """Four 3 x 3 convolutions, attention, a 2 x 2 deconvolution, and a 1 x 1 convolution to one logit."""

    def __init__(
        self, channels: int, width: int, *, prior: float = 0.5, attention: nn.Module | None = None
    ) -> None:
        """Draw fresh weights.

        Args:
            channels: Of what it sees.
            width: Channels of the convolutions.
            prior: Probability that every cell starts with.
            attention: Maps features to the same shape; absent means none.
        """
        super().__init__()
        self.convs = MaskRCNNHeads(channels, (width,) * _CONVS, dilation=1)
        self.attention = nn.Identity() if attention is None else attention
        self.enlarge = nn.Sequential(nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.normal_(self.last.weight, std=_LAST_STD)
        if self.last.bias is not None:
            nn.init.constant_(self.last.bias, math.log(prior / (1 - prior)))

    def forward(self, region: Tensor) -> Tensor:
        """Map (n, channels, r, r) to logits (n, 2 r, 2 r)."""
        logits: Tensor = self.last(self.enlarge(self.attention(self.convs(region))))
        return logits[:, 0]
