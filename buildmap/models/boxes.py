"""Boxes that a detector begins with, and which of those that it ends with stay."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import clip_boxes_to_image, nms

from buildmap.models.pyramid import FIRST_SOUGHT

_AREA_PX = 512 * 512
_SMALLEST_PX = 1.0
"""Sides of the smallest building."""


def boxes_of_cells(generator: AnchorGenerator, features: Sequence[Tensor]) -> list[Tensor]:
    """Give the boxes about each cell's middle, (rows x cols x a, 4) in pixel corners for each level.

    torchvision's are about each cell's first corner, so that a mirrored image had other boxes.

    Args:
        generator: Their sizes and shapes.
        features: The levels in which boxes are sought, (B, C, rows, cols).
    """
    strides = [2**level for level in range(FIRST_SOUGHT, FIRST_SOUGHT + len(features))]
    generator.set_cell_anchors(torch.float32, features[0].device)
    grids = generator.grid_anchors([[*one.shape[2:]] for one in features], [[s, s] for s in strides])
    return [grid + stride / 2 for grid, stride in zip(grids, strides, strict=True)]


def best(values: Tensor, most: int) -> Tensor:
    """Give the places of the highest of values (n,), the highest first, at most so many."""
    return values.topk(torch.sym_min(most, values.shape[0]))[1]


def per_area(most: int, image_px: tuple[int, int]) -> int:
    """Allow an image as many more as it is larger than 512 x 512: a window's size does not thin out towns.

    Args:
        most: In an image of that size or a smaller one, and in any image once exported.
        image_px: Rows and columns.
    """
    rows, cols = image_px
    if torch.compiler.is_exporting():  # a number that follows the image is not known to the exporter
        return most
    return max(most, most * rows * cols // _AREA_PX)


def keep_best(
    boxes: Tensor, scores: Tensor, image_px: tuple[int, int], *, score_min: float, nms_iou: float
) -> tuple[Tensor, Tensor]:
    """Cut boxes at the image's border, and drop the unlikely, the smallest and those like a better one.

    Args:
        boxes: (n, 4) in pixel corners.
        scores: (n,).
        image_px: Rows and columns.
        score_min: Lowest score that stays.
        nms_iou: Of two boxes with a higher IoU only the better stays.

    Returns:
        Boxes (m, 4) and scores (m,), best first.
    """
    boxes = clip_boxes_to_image(boxes, image_px)
    sides = boxes[:, 2:] - boxes[:, :2]
    possible = torch.where((scores >= score_min) & (sides >= _SMALLEST_PX).all(dim=1))[0]
    boxes, scores = boxes[possible], scores[possible]
    kept = nms(boxes, scores, nms_iou)
    return boxes[kept], scores[kept]
