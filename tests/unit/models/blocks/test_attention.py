"""Attention against its equations, written out pixel by pixel."""

import torch
from torch import nn

from buildmap.models.blocks.attention import ChannelAttention, PositionAttention


def test_attention_starts_with_no_say() -> None:
    features = torch.randn(2, 8, 3, 4)
    for attention in (PositionAttention(8), ChannelAttention()):
        assert torch.equal(attention(features), features)


def test_every_pixel_gets_the_mean_of_all_weighted_by_likeness() -> None:
    """Equations 1 and 2 of Fu et al. (2019)."""
    torch.manual_seed(0)
    attention = PositionAttention(16)
    nn.init.constant_(attention.share, 0.7)
    features = torch.randn(1, 16, 2, 3)
    with torch.no_grad():
        query, key, value = (
            part(features)[0].flatten(1) for part in (attention.query, attention.key, attention.value)
        )
        expected = features.clone()
        for j in range(6):
            weights = torch.stack([torch.exp(query[:, j] @ key[:, i]) for i in range(6)])
            mean = sum(weights[i] / weights.sum() * value[:, i] for i in range(6))
            expected[0, :, j // 3, j % 3] += 0.7 * mean
        torch.testing.assert_close(attention(features), expected)


def test_every_channel_gets_the_mean_of_all_weighted_by_how_unlike_they_are() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention()
    nn.init.constant_(attention.share, 0.7)
    features = torch.randn(1, 4, 2, 3)
    flat = features[0].flatten(1)
    expected = features.clone()
    for j in range(4):
        likeness = torch.stack([flat[j] @ flat[i] for i in range(4)])
        weights = torch.exp(likeness.max() - likeness)
        mean = sum(weights[i] / weights.sum() * flat[i] for i in range(4))
        assert isinstance(mean, torch.Tensor)
        expected[0, j] += 0.7 * mean.reshape(2, 3)
    with torch.no_grad():
        torch.testing.assert_close(attention(features), expected)
