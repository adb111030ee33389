"""ESRGAN's generator and Real-ESRGAN's discriminator: a small image in, a picture four times as large out.

The generator is RRDBNet (Wang et al. 2018, arXiv 1809.00219, figures 3 and 4), the discriminator the
spectrally normalized U-Net (Wang et al. 2021, arXiv 2107.10833, figure 6). The published ones have 64
channels, 23 blocks and a growth of 32: 16,697,987 and 4,376,897 parameters for three bands.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from buildmap.errors import MismatchError
from buildmap.models.network import Network
from buildmap.preset import Model

WIDTH = 64
"""Channels of the published networks."""
DEPTH = 23
"""Residual-in-residual dense blocks of the published generator."""
_COLOURS = 3
"""Channels of a picture."""
_GROWTH = 2
"""Channels per channel that a dense block's convolution adds."""
_SLOPE = 0.2
"""Of leaky rectifiers below zero."""
_RESIDUAL = 0.2
"""Share of a residual that is added, beta in figure 4."""
_INITIAL = 0.1
"""What the first weights of dense blocks are multiplied by."""
_DENSE_BLOCKS = 3
_DENSE_CONVS = 5


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and all that the ones before it have added."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        seen = [width + growth * before for before in range(_DENSE_CONVS)]
        made = [growth] * (_DENSE_CONVS - 1) + [width]
        self.convs = nn.ModuleList(nn.Conv2d(*sizes, 3, padding=1) for sizes in zip(seen, made, strict=True))
        for conv in self.convs:
            _start_small(conv)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        seen = features
        *adding, last = self.convs
        for conv in adding:
            seen = torch.cat([seen, leaky_relu(conv(seen), _SLOPE, inplace=True)], dim=1)
        residual: Tensor = last(seen)
        return features + _RESIDUAL * residual


class ResidualInResidual(nn.Module):
    """Three dense blocks in a row, and what they change as a residual (figure 4, right)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(_DENSE_BLOCKS)))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        residual: Tensor = self.blocks(features)
        return features + _RESIDUAL * residual


class Generator(Network):
    """Makes a picture of an image, four times as large; nothing is normalized, and no colour cut off."""

    stride = 1
    scale = 4

    def __init__(
        self, bands: int, colours: int = _COLOURS, *, width: int = WIDTH, depth: int = DEPTH
    ) -> None:
        """Draw fresh weights: He's, and in dense blocks a tenth of them, as published.

        Args:
            bands: Channels of the image.
            colours: Channels of the picture.
            width: Channels of features, even.
            depth: Blocks.
        """
        super().__init__()
        growth = width // _GROWTH
        self.first = nn.Conv2d(bands, width, 3, padding=1)
        self.body = nn.Sequential(
            *(ResidualInResidual(width, growth) for _ in range(depth)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.enlarge = nn.Sequential(*_enlarge(width), *_enlarge(width))
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, colours, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to a picture (B, colours, 4 H, 4 W), of about 0..1 once trained."""
        features = self.first(image)
        picture: Tensor = self.last(self.enlarge(features + self.body(features)))
        return picture


class Discriminator(nn.Module):
    """Says of every pixel of a picture whether it is real, from a U-Net whose layers stretch nothing.

    Every convolution but the first and the last is divided by its largest singular value (Miyato et al.
    2018), which is followed by one power iteration each time the network is called in training.
    """

    stride = 8
    """Sides of the picture are multiples of it."""

    def __init__(self, *, width: int = WIDTH) -> None:
        """Draw fresh weights; `width` are the channels at full resolution."""
        super().__init__()
        channels = [width * 2**level for level in range(4)]
        self.first = nn.Conv2d(_COLOURS, width, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(fine, coarse, 4, 2, 1, bias=False)) for fine, coarse in pairwise(channels)
        )
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
        self.up = nn.ModuleList(_unstretched(coarse, fine) for coarse, fine in pairwise(reversed(channels)))
        self.extra = nn.ModuleList(_unstretched(width, width) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        """Map a picture (B, 3, H, W) to logits (B, 1, H, W): above 0 is real."""
        features = [leaky_relu(self.first(picture), _SLOPE)]
        for conv in self.down:
            features.append(leaky_relu(conv(features[-1]), _SLOPE))
        x = features.pop()
        for conv in self.up:
            x = leaky_relu(conv(self.enlarge(x)), _SLOPE) + features.pop()
        for conv in self.extra:
            x = leaky_relu(conv(x), _SLOPE)
        logits: Tensor = self.last(x)
        return logits


def build(model: Model, bands: int, classes: int) -> Generator:
    """Make a generator of the model's width and depth; its classes are the picture's colours.

    Raises:
        MismatchError: If a generator cannot be of this size.
    """
    width, depth = model.width or WIDTH, model.depth or DEPTH
    if width < 2 or width % 2 or depth < 1:
        raise MismatchError(
            f"model {model.name} cannot have width {width} and depth {depth}",
            hint="an even width, such as 64",
        )
    return Generator(bands, classes, width=width, depth=depth)


def _enlarge(width: int) -> tuple[nn.Module, ...]:
    """Double the sides, nearest, and convolve."""
    return nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(_SLOPE)


def _unstretched(channels_in: int, channels_out: int) -> nn.Module:
    conv: nn.Module = spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False))
    return conv


def _start_small(conv: nn.Module) -> None:
    """Draw He's weights, a tenth as large: deep residual networks then start near the identity.

    Section 3.1, and the published code, which draws so in dense blocks only.
    """
    for name, parameter in conv.named_parameters():
        if name == "bias":
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter)
            parameter.data.mul_(_INITIAL)
