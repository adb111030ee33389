"""HR-Mamba's stem: edges added to an image's first features, noise taken from them (Su et al. 2025, 2.2).

The paper says that the stem leaves the parameters as they are and adds 0.01 % of work, and gives no
width: its channels must be few. Thresholds fixed for all images need features of a fixed scale, which
the normalization gives.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from buildmap.models.blocks.canny import Canny
from buildmap.models.blocks.median import Median3x3

OUT_CHANNELS = 3
"""Of the result: as many as the trunk's pretrained weights are made for."""


class CannyMedianStem(nn.Module):
    """Convolution, Canny's edges of it added, activation, convolution, reduction, 3 x 3 median."""

    def __init__(self, bands: int, *, width: int, low: float, high: float, sigma: float) -> None:
        """Make the convolutions.

        Args:
            bands: Channels of the image.
            width: Channels in which edges are sought.
            low: As `Canny`, in standard deviations of a feature.
            high: Likewise.
            sigma: As `Canny`.
        """
        super().__init__()
        self.extract = nn.Sequential(nn.Conv2d(bands, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.edges = Canny(low, high, sigma)
        self.enhance = nn.Conv2d(width, width, 3, padding=1)
        self.reduce = nn.Conv2d(width, OUT_CHANNELS, 1)
        self.median = Median3x3()

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to (B, 3, H, W)."""
        features = self.extract(image)
        enhanced = self.enhance(relu(features + self.edges(features)))
        filtered: Tensor = self.median(self.reduce(enhanced))
        return filtered
