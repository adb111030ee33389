"""Context at several scales from dilated convolutions, all at one resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Convolve, normalize, rectify; sides stay as they are."""
    return nn.Sequential(
        nn.Conv2d(
            channels_in, channels_out, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False
        ),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: every scale sees the features alone (Sci-Net, figure 2a)."""

    def __init__(self, channels_in: int, channels_out: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            [
                conv(channels_in, channels_out, 1),
                *(conv(channels_in, channels_out, 3, rate) for rate in rates),
            ]
        )
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(channels_in, channels_out, 1))
        self.project = conv((len(rates) + 2) * channels_out, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, H, W)."""
        scales = [scale(features) for scale in self.scales]
        whole = self.whole(features).expand_as(scales[0])
        projected: Tensor = self.project(torch.cat([*scales, whole], dim=1))
        return projected


class DenseASPP(nn.Module):
    """Dilated convolutions in a row, each seeing the features and all before it (Yang et al. 2018, figure 3).

    A stack of rates 3, 6, 12 and 18 sees 79 pixels, where `ASPP` with 18 sees 37.
    """

    def __init__(self, channels_in: int, *, bottleneck: int, growth: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(
                conv(channels_in + index * growth, bottleneck, 1), conv(bottleneck, growth, 3, rate)
            )
            for index, rate in enumerate(rates)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_in + growth * rates, H, W)."""
        for scale in self.scales:
            features = torch.cat([features, scale(features)], dim=1)
        return features
