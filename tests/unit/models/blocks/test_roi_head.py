"""What a branch makes of a region: equation 3 of CenterMask, twice as fine, and where it starts."""

import torch
from torch import nn

from buildmap.models.blocks.roi_head import RoiHead, SpatialAttention


def test_attention_weighs_cells_by_the_largest_and_the_mean_channel() -> None:
    torch.manual_seed(0)
    attention, features = SpatialAttention(), torch.randn(2, 5, 6, 7)
    weight, bias = attention.weigh.weight.detach()[0], attention.weigh.bias.detach()
    expected = torch.empty_like(features)
    for image in range(2):
        largest, mean = features[image].max(dim=0)[0], features[image].sum(dim=0) / 5
        padded = nn.functional.pad(torch.stack([largest, mean]), (1, 1, 1, 1))
        for row in range(6):
            for col in range(7):
                logit = (padded[:, row : row + 3, col : col + 3] * weight).sum() + bias
                expected[image, :, row, col] = features[image, :, row, col] / (1 + (-logit).exp())
    torch.testing.assert_close(attention(features), expected)


def test_a_region_becomes_one_logit_for_each_quarter_of_a_cell() -> None:
    assert RoiHead(9, 8)(torch.randn(3, 9, 7, 7)).shape == (3, 14, 14)
    assert RoiHead(9, 8)(torch.randn(0, 9, 7, 7)).shape == (0, 14, 14)


def test_every_cell_starts_near_the_prior() -> None:
    torch.manual_seed(0)
    probability = RoiHead(8, 8, prior=0.1)(torch.randn(4, 8, 7, 7)).sigmoid()
    assert (probability - 0.1).abs().max() < 0.02


def test_attention_has_its_say() -> None:
    torch.manual_seed(0)
    head, region = RoiHead(8, 8, attention=SpatialAttention()), torch.randn(2, 8, 7, 7)
    before = head(region)
    nn.init.constant_(head.get_submodule("attention.weigh").bias, -50.0)  # nothing passes
    bias = head.last.bias + head.last.weight[0, :, 0, 0] @ head.enlarge[0].bias.clamp(min=0)
    torch.testing.assert_close(head(region), bias.expand(before.shape))
    assert not torch.allclose(before, head(region))
