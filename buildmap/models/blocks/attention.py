"""Attention of every pixel to all pixels, and of every channel to all channels (Fu et al. 2019, figure 3)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

_REDUCTION = 8
"""Queries and keys have so many times fewer channels than the features."""


class PositionAttention(nn.Module):
    """Features plus, at every pixel, a mean of those of the pixels that resemble it (equations 1 and 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // _REDUCTION, 1)
        self.key = nn.Conv2d(channels, channels // _REDUCTION, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        query, key, value = (
            part(features).flatten(2).transpose(1, 2).unsqueeze(1)
            for part in (self.query, self.key, self.value)
        )  # (B, 1, H W, C)
        attended = scaled_dot_product_attention(query, key, value, scale=1.0)
        return features + self.share * attended.transpose(2, 3).reshape(features.shape)


class ChannelAttention(nn.Module):
    """Features plus, in every channel, a mean of those of the channels least like it (equations 3 and 4).

    The authors' program, which their results come from, takes the largest resemblance minus each one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        channels = features.flatten(2)  # (B, C, H W)
        likeness = channels @ channels.transpose(1, 2)  # (B, C, C)
        # The softmax of (largest - likeness) is that of -likeness.
        attended = (-likeness).softmax(dim=2) @ channels
        return features + self.share * attended.reshape(features.shape)
