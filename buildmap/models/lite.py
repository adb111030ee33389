"""A U-Net for CPUs: plain convolutions, and nothing at full resolution but the way in and out.

Three quarters of a U-Net's work is done at the finest level. Here a strided stem makes that level
half as fine, and a sub-pixel head (Shi et al. 2016, figure 1) gives each of its pixels the logits of
the 2 x 2 image pixels it stands for. Batch normalization folds into the convolutions on export.
Skips are added, not concatenated: the finest decoder convolutions are then half as wide.
"""

from itertools import pairwise

from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models.network import Network
from buildmap.preset import Model

_LARGEST_DEPTH = 8
_WIDEST = 8
"""Channels grow with every halving up to this multiple of the width."""


def conv(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolve, normalize, rectify; sides shrink by the stride exactly."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, (kernel - stride + 1) // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Lite(Network):
    """A U-Net at 1/`stem_stride` resolution, with a sub-pixel head."""

    def __init__(self, model: Model, bands: int, classes: int) -> None:
        super().__init__()
        width, depth, stem_stride = _sizes(model)
        self.stride = 2**depth
        levels = depth + 2 - stem_stride.bit_length()
        channels = [width * min(2**level, _WIDEST) for level in range(levels)]
        kernel = 2 * stem_stride if stem_stride > 1 else 3
        self.stem = conv(bands, width, kernel, stem_stride)
        self.first = conv(width, width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), conv(fine, coarse), conv(coarse, coarse))
            for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(
            nn.Sequential(conv(coarse, fine, kernel=1), nn.Upsample(scale_factor=2))
            for coarse, fine in pairwise(reversed(channels))
        )
        self.merge = nn.ModuleList(
            nn.Sequential(conv(fine, fine), conv(fine, fine)) for fine in reversed(channels[:-1])
        )
        self.head = nn.Sequential(
            nn.Conv2d(width, classes * stem_stride**2, 3, padding=1),
            nn.PixelShuffle(stem_stride),
        )
        _start_alike(self.head[0], stem_stride**2)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, classes, H, W)."""
        features = [self.first(self.stem(image))]
        for down in self.down:
            features.append(down(features[-1]))
        x = features.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(up(x) + features.pop())
        logits: Tensor = self.head(x)
        return logits


def build(model: Model, bands: int, classes: int) -> Network:
    """Make the network of these sizes."""
    return Lite(model, bands, classes)


def _start_alike(subpixels: nn.Module, count: int) -> None:
    """Give the `count` logits of one pixel equal weights, so that no checkerboard must be unlearned.

    Aitken et al. 2017, section 3.
    """
    for parameter in subpixels.parameters():
        parameter.data = parameter.data[::count].repeat_interleave(count, dim=0)


def _sizes(model: Model) -> tuple[int, int, int]:
    """Give width, depth and stem stride, checked."""
    width, depth, stem_stride = model.width or 24, model.depth or 4, model.stem_stride or 2
    if width < 1 or not 1 <= depth <= _LARGEST_DEPTH:
        raise MismatchError(f"model lite cannot have width {width} and depth {depth}")
    if stem_stride not in {1, 2, 4} or stem_stride > 2**depth:
        raise MismatchError(f"model lite cannot have stem_stride {stem_stride}", hint="1, 2 or 4")
    return width, depth, stem_stride
