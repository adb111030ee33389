"""HRNetV2: four resolutions side by side, joined at the finest (Wang et al. 2020, figures 2 and 4b)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from buildmap.models.encoders import EncoderUse, build_high_resolution_encoder
from buildmap.models.network import Network, Segmenter
from buildmap.preset import Model

_ENCODER = EncoderUse(default="hrnet_w48")
_FINEST = 4
"""Image pixels per pixel of the finest features."""


class JoinedResolutions(nn.Module):
    """All features enlarged to the finest, and mixed (figure 4b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map features (B, C_i, H_i, W_i), finest first, to (B, sum of C_i, H_0, W_0)."""
        mixed: Tensor = self.mix(join(features))
        return mixed


def join(features: Sequence[Tensor]) -> Tensor:
    """Enlarge features (B, C_i, H_i, W_i), finest first, to the finest: (B, sum of C_i, H_0, W_0)."""
    finest, *coarser = features
    enlarged = [interpolate(one, size=finest.shape[2:], mode="bilinear") for one in coarser]
    return torch.cat([finest, *enlarged], dim=1)


def build(model: Model, bands: int, classes: int) -> Network:
    """Put the HRNetV2 head on an HRNet."""
    encoder = build_high_resolution_encoder(model, bands, _ENCODER)
    channels = sum(encoder.out_channels)
    return Segmenter(
        encoder=encoder.module,
        decoder=JoinedResolutions(channels),
        head=nn.Conv2d(channels, classes, 1),
        stride=encoder.output_stride,
        reduction=_FINEST,
    )
