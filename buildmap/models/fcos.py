"""CenterMask with a branch of vertices: boxes from every point, without any to begin with.

FCOS is Tian et al. 2019; what CenterMask adds is its branch of masks with spatial attention, and the levels
at which regions are cut out (Lee & Park 2020, sections 3.2 and 3.3). Vertices have no attention of their own:
the keypoint paper speaks of none.

On ResNet-101 and three bands it has 54,386,266 parameters with masks alone, 54,386,247 with vertices alone,
and 57,011,547 with both.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.ops import box_area

from buildmap.models.blocks.precision import full_precision
from buildmap.models.blocks.roi_head import SpatialAttention
from buildmap.models.boxes import best, boxes_of_cells, keep_best, per_area
from buildmap.models.instance_branches import Branches
from buildmap.models.instance_network import Objects
from buildmap.models.instance_targets import Regions, match_regions
from buildmap.models.pyramid import FINEST, FIRST_SOUGHT, build_pyramid, image_px, levels_by_share
from buildmap.models.region_network import Detector, Found, RegionNetwork
from buildmap.preset import Instances, Model

_LEVELS = 5
_POINTS_PER_LEVEL = 1000
"""Points of a level whose boxes are looked at, the best."""
_CENTRE_STRIDES = 1.5
"""Points so near to the middle of a building learn its box."""
_REACH_STRIDES = (4, 8)
"""Strides from a point to the farthest side of a building that it learns, but at the ends of the pyramid."""
_REGION_IOU = 0.5
_REGIONS_PER_BUILDING = 0.5
"""Boxes of an image in which masks and vertices are learned, per building that it may have: 128 for 256,
as in Mask R-CNN."""
_GROUP = 8
"""Channels normalized together: 32 groups of 256, as published."""


class PointDetector(Detector):
    """FCOS: each point of a level says whether it is in a building, and how far the building's sides are."""

    def __init__(self, instances: Instances, width: int) -> None:
        """Draw fresh weights.

        Args:
            instances: Which boxes to keep.
            width: Channels of features, a multiple of 8.
        """
        super().__init__()
        self._instances = instances
        strides = tuple((2**level,) for level in range(FIRST_SOUGHT, FIRST_SOUGHT + _LEVELS))
        self._cells = AnchorGenerator(strides, ((1.0,),) * _LEVELS)
        self.head = FCOSHead(width, num_anchors=1, num_classes=1, num_convs=0)
        norm = partial(nn.GroupNorm, width // _GROUP)
        self.head.classification_head = FCOSClassificationHead(width, 1, 1, norm_layer=norm)
        self.head.regression_head = FCOSRegressionHead(width, 1, norm_layer=norm)

    def forward(self, features: Sequence[Tensor]) -> list[Found]:
        """Find boxes in features (B, width, H / 2^k, W / 2^k), k = 2 first."""
        outputs, cells = self._look(features)
        return self._find(outputs, cells, image_px(features))

    def losses(
        self, features: Sequence[Tensor], objects: Sequence[Objects]
    ) -> tuple[dict[str, Tensor], list[Regions]]:
        """Give the losses over all images, and the boxes found that hold a building."""
        outputs, cells = self._look(features)
        with full_precision(features[0]):
            boxes = [one.boxes.float() for one in objects]
            matched = [match_points(cells, of_image) for of_image in boxes]
            targets = [{"boxes": of_image, "labels": _labels(of_image)} for of_image in boxes]
            found = self.head.compute_loss(targets, outputs, [torch.cat(cells)] * len(boxes), matched)
        with torch.no_grad():
            proposed = self._find(outputs, cells, image_px(features))
        most = math.ceil(_REGIONS_PER_BUILDING * self._instances.most)
        regions = [
            match_regions(of_image, one, iou_min=_REGION_IOU, most=most)
            for (of_image, _), one in zip(proposed, objects, strict=True)
        ]
        losses = {
            "classification": found["classification"],
            "box": found["bbox_regression"],
            "centreness": found["bbox_ctrness"],
        }
        return losses, regions

    def _look(self, features: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Give what each point says (B, n, 1 or 4), and the cells about the points (n_l, 4) of each level."""
        sought = list(features[FIRST_SOUGHT - FINEST :])
        outputs = {name: said.float() for name, said in self.head(sought).items()}
        return outputs, boxes_of_cells(self._cells, sought)

    def _find(
        self, outputs: dict[str, Tensor], cells: Sequence[Tensor], size_px: tuple[int, int]
    ) -> list[Found]:
        counts = [level.shape[0] for level in cells]
        # A score is the mean, in the logarithm, of being a building and of being its middle.
        scores = (outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()[..., 0]
        found = []
        for of_image, codes in zip(scores, outputs["bbox_regression"], strict=True):
            levels = zip(of_image.split(counts), codes.split(counts), cells, strict=True)
            found.append(self._find_one(list(levels), size_px))
        return found

    def _find_one(self, levels: Sequence[tuple[Tensor, Tensor, Tensor]], size_px: tuple[int, int]) -> Found:
        """Find boxes in one image: scores (n_l,), codes (n_l, 4) and cells (n_l, 4) of each level."""
        boxes, scores = [], []
        for level_scores, codes, cells in levels:
            top = best(level_scores, per_area(_POINTS_PER_LEVEL, size_px))
            boxes.append(self.head.box_coder.decode(codes[top], cells[top]))
            scores.append(level_scores[top])
        limits = self._instances
        kept = keep_best(
            torch.cat(boxes),
            torch.cat(scores),
            size_px,
            score_min=limits.score_min,
            nms_iou=limits.nms_iou,
        )
        most = per_area(limits.most, size_px)
        return kept[0][:most], kept[1][:most]


def match_points(cells: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Give the building whose box each point learns, (n,), -1 for none (Tian et al. 2019, section 3.2).

    A point learns the smallest of the boxes that it lies in, near the middle of, and whose size is its
    level's.

    Args:
        cells: (n_l, 4) about the points of each level, finest first, as large as the level's stride.
        boxes: (m, 4) of buildings.
    """
    all_cells = torch.cat(list(cells))
    if len(boxes) == 0:
        return torch.full((len(all_cells),), -1, device=boxes.device)
    stride = (all_cells[:, 2] - all_cells[:, 0])[:, None]
    points = (all_cells[:, :2] + all_cells[:, 2:]) / 2
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = (points[:, None] - middles).abs().amax(dim=2) < _CENTRE_STRIDES * stride
    to_sides = torch.cat([points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]], dim=2)  # (n, m, 4)
    inside = to_sides.amin(dim=2) > 0
    reach = to_sides.amax(dim=2)
    shortest, farthest = (times * stride for times in _REACH_STRIDES)
    shortest = shortest.masked_fill(stride == stride.min(), 0.0)
    farthest = farthest.masked_fill(stride == stride.max(), torch.inf)
    learns = near & inside & (reach > shortest) & (reach < farthest)
    areas: Tensor = box_area(boxes).expand(learns.shape).masked_fill(~learns, torch.inf)
    area, matched = areas.min(dim=1)
    return matched.masked_fill(area.isinf(), -1)


def build(model: Model, bands: int) -> RegionNetwork:
    """Put CenterMask on a pyramid.

    Raises:
        MismatchError: If the network cannot be of this size, or weights are of another encoder.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    instances = model.instances or Instances()
    pyramid, stride = build_pyramid(model, bands, _LEVELS)
    return RegionNetwork(
        pyramid=pyramid,
        detector=PointDetector(instances, pyramid.width),
        branches=Branches(instances, pyramid.width, levels=levels_by_share, attention=SpatialAttention()),
        stride=stride,
    )


def _labels(boxes: Tensor) -> Tensor:
    """Give 0, the number of the only class."""
    return torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
