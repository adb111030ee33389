"""A pyramid of features, all of one width, and what is cut out of it for each region of interest.

The keypoint paper's table 1 names anchors at strides 8 to 128, and features of 128, 64 and 32 pixels of an
image of 512. Both fit one pyramid of levels 2 to 7, level k at 1 / 2^k of the image: boxes are sought from
level 3 on, and regions are cut out of levels 2, 3 and 4. The same pyramid serves both detectors.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork, box_area, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.poolers import LevelMapper

from buildmap.errors import MismatchError
from buildmap.models.encoders import EncoderUse, build_encoder
from buildmap.preset import Model

LevelRule = Callable[[Tensor, int], Tensor]
"""Gives the level (n,) at which each of the boxes (n, 4) in an image of so many pixels is cut out."""

FINEST = 2
"""Level of the finest features."""
FIRST_SOUGHT = 3
"""Level of the finest features in which boxes are sought."""
COARSEST_CUT = 4
"""Level of the coarsest features that regions are cut out of."""
_ENCODER = EncoderUse(default="resnet101")
_ENCODER_LEVELS = slice(FINEST, None)
"""An encoder's features begin with the image itself."""
_WIDTH = 256
_WIDTH_STEP = 8
"""FCOS's heads normalize so many channels together."""
_SAMPLES = 2
"""Samples of features along each side of a region's cell."""
_COUNTS = (3, 5)
"""Levels in which boxes can be sought: those of the encoder, or two coarser ones as well."""


class Pyramid(nn.Module):
    """An encoder's features joined from the coarsest to the finest (Lin et al. 2017, figure 3).

    Where the encoder's weights are pretrained, the statistics of its batch normalization stay as they are,
    as in Detectron2, which the paper took: batches of two images are too small to measure them.
    """

    def __init__(self, *, encoder: nn.Module, joined: nn.Module, width: int, keep_statistics: bool) -> None:
        """Put the two together.

        Args:
            encoder: Maps an image to a list of features, the image itself first.
            joined: Maps named features to others of one width.
            width: Channels of these.
            keep_statistics: Leave the encoder's running statistics alone in training.
        """
        super().__init__()
        self.encoder = encoder
        self.joined = joined
        self.width = width
        self._keep_statistics = keep_statistics

    def train(self, mode: bool = True) -> "Pyramid":
        """Go to training; the encoder's batch normalizations may have to stay behind."""
        super().train(mode)
        if self._keep_statistics:
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image (B, bands, H, W) to features (B, width, H / 2^k, W / 2^k), k = 2 first."""
        features = self.encoder(image)[_ENCODER_LEVELS]
        return list(self.joined({f"p{level}": one for level, one in enumerate(features, FINEST)}).values())


def build_pyramid(model: Model, bands: int, sought: int) -> tuple[Pyramid, int]:
    """Make the pyramid of a model, and give its stride as well.

    Args:
        model: Its encoder, and its width: absent means 256, as published.
        bands: Channels of the image.
        sought: Levels in which boxes are sought, 3 or 5.

    Raises:
        MismatchError: If the width, the encoder or the number of levels cannot be had, or weights differ.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    width = model.width or _WIDTH
    if width < _WIDTH_STEP or width % _WIDTH_STEP:
        raise MismatchError(
            f"model {model.name} cannot have width {width}", hint=f"a multiple of {_WIDTH_STEP}"
        )
    if sought not in _COUNTS:
        raise MismatchError(
            f"model {model.name} cannot have anchor_px for {sought} levels", hint="3 or 5 sides of boxes"
        )
    encoder = build_encoder(model, bands, _ENCODER)
    joined = FeaturePyramidNetwork(
        list(encoder.out_channels[_ENCODER_LEVELS]),
        width,
        extra_blocks=LastLevelP6P7(width, width) if sought == max(_COUNTS) else None,
    )
    pyramid = Pyramid(
        encoder=encoder.module,
        joined=joined,
        width=width,
        keep_statistics=model.encoder_weights is not None,
    )
    return pyramid, encoder.output_stride


def image_px(features: Sequence[Tensor]) -> tuple[int, int]:
    """Give the rows and columns of the image that features, level 2 first, were made of."""
    rows, cols = features[0].shape[2:]
    return rows * 2**FINEST, cols * 2**FINEST


def levels_by_size(boxes: Tensor, image_area_px: int) -> Tensor:  # noqa: ARG001 one signature for both
    """Give the level (n,) of boxes (n, 4) by their own size (Lin et al. 2017, equation 1)."""
    levels: Tensor = LevelMapper(FINEST, COARSEST_CUT)([boxes]) + FINEST
    return levels


def levels_by_share(boxes: Tensor, image_area_px: int) -> Tensor:
    """Give the level (n,) of boxes (n, 4) by their share of the image (Lee & Park 2020, equation 2).

    It depends on how large the image is: of two windows that show the same building the larger may take it
    from a finer level, if it fills more than a quarter of the smaller one.
    """
    level = torch.ceil(COARSEST_CUT - torch.log2(image_area_px / box_area(boxes)))
    return level.clamp(FINEST, COARSEST_CUT).to(torch.int64)


def cut_out(features: Sequence[Tensor], boxes: Sequence[Tensor], levels: Tensor, side_px: int) -> Tensor:
    """Sample the features in each box, without rounding its place (He et al. 2017, RoIAlign).

    torchvision's `MultiScaleRoIAlign` is half a pixel off, more or less of a box according to its size.

    Args:
        features: (B, C, H / 2^k, W / 2^k), k = 2 first.
        boxes: Of each image, (n_i, 4) in pixel corners.
        levels: (n,) level of each box, of all images in turn.
        side_px: Rows and columns of what is cut out.

    Returns:
        (n, C, side_px, side_px).
    """
    numbered = [torch.cat([torch.full_like(box[:, :1], at), box], dim=1) for at, box in enumerate(boxes)]
    regions = torch.cat(numbered)
    cut = features[0].new_zeros(regions.shape[0], features[0].shape[1], side_px, side_px)
    for level in range(FINEST, COARSEST_CUT + 1):
        here = torch.where(levels == level)[0]
        source = features[level - FINEST]
        sampled = roi_align(
            source, regions[here].to(source), side_px, math.ldexp(1, -level), _SAMPLES, aligned=True
        )
        cut = cut.index_copy(0, here, sampled)
    return cut
