"""The 'Base Model' of map-guided cross-training: a segmenter that only looks at the nearest pixels.

Section II-A: three one-layer convolution-deconvolution blocks of 3 x 3 filters that keep the sides, batch
normalization, ReLU, and a 1 x 1 convolution to the classes. The paper does not say how many channels there
are: here as many as the generator's features have.
"""

from itertools import pairwise

from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models.network import Network
from buildmap.preset import Model

WIDTH = 64
_BLOCKS = 3


class ShallowNet(Network):
    """Logits of a pixel from the 13 x 13 pixels around it."""

    stride = 1

    def __init__(self, bands: int, classes: int, *, width: int = WIDTH) -> None:
        """Draw fresh weights.

        Args:
            bands: Channels of the image.
            classes: Channels of the logits.
            width: Channels of every block.
        """
        super().__init__()
        channels = [bands] + [width] * _BLOCKS
        self.blocks = nn.Sequential(*(_block(*sizes) for sizes in pairwise(channels)))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, classes, H, W)."""
        logits: Tensor = self.head(self.blocks(image))
        return logits


def build(model: Model, bands: int, classes: int) -> ShallowNet:
    """Make the network of the model's width.

    Raises:
        MismatchError: If it cannot have it.
    """
    width = model.width or WIDTH
    if width < 1:
        raise MismatchError(f"model {model.name} cannot have width {width}")
    return ShallowNet(bands, classes, width=width)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Convolve, deconvolve, normalize, rectify; the normalization's shift stands for both biases."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.ConvTranspose2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
