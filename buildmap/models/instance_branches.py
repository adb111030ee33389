"""The two branches in each region of interest: its mask, and a heat map of its vertices (figures 2 and 4).

The paper says that the branches are 3 x 3 convolutions with rectifiers and a 1 x 1 convolution, that regions
have 28 x 28 cells, and that the vertices are sought in the features joined with the predicted mask. It leaves
open how many convolutions there are, how large the two maps are, which of mask or logits is joined, and
whether the gradient of the vertices reaches the mask. Here both branches have Mask R-CNN's four
convolutions and its deconvolution, so both maps have 56 x 56 cells; the mask's probability, averaged to the
region's cells, is joined as one more channel; and the gradient flows through it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from buildmap.models.blocks.roi_head import RoiHead
from buildmap.models.instance_network import Objects
from buildmap.models.instance_targets import Regions, heatmap_targets, mask_targets
from buildmap.models.pyramid import LevelRule, cut_out, image_px
from buildmap.models.vertex_loss import vertex_loss
from buildmap.preset import Instances

_VERTEX_PRIOR = 0.1
"""Probability of a vertex that every cell starts with, as in CornerNet."""

Maps = tuple[Tensor | None, Tensor | None]
"""Logits (n, 2 r, 2 r) of masks and of heat maps; None for a branch that there is not."""


class Branches(nn.Module):
    """What is said of each building beyond its box."""

    def __init__(
        self, instances: Instances, width: int, *, levels: LevelRule, attention: nn.Module | None = None
    ) -> None:
        """Draw fresh weights.

        Args:
            instances: Which branches there are, the side of a region, and the losses' weights.
            width: Channels of features.
            levels: Where in the pyramid a box is cut out.
            attention: In the branch of masks; absent means none.
        """
        super().__init__()
        self._instances = instances
        self._levels = levels
        self.mask = RoiHead(width, width, attention=attention) if instances.masks else None
        seen = width + (1 if instances.masks else 0)
        self.keypoint = RoiHead(seen, width, prior=_VERTEX_PRIOR) if instances.keypoints else None

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Maps:
        """Look at boxes (n_i, 4) of each image, all of them in turn."""
        levels = self._levels(torch.cat(list(boxes)), math.prod(image_px(features)))
        region = cut_out(features, boxes, levels, self._instances.roi_px)
        masks = None if self.mask is None else self.mask(region)
        if self.keypoint is None:
            return masks, None
        if masks is not None:
            shown = avg_pool2d(masks[:, None].sigmoid(), 2)
            region = torch.cat([region, shown.to(region)], dim=1)
        return masks, self.keypoint(region)

    def losses(
        self, features: Sequence[Tensor], regions: Sequence[Regions], objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """Give the weighted losses of the regions of each image, over all images.

        Without any region they are zero.
        """
        masks, heatmaps = self(features, [one.boxes for one in regions])
        pairs = list(zip(regions, objects, strict=True))
        losses: dict[str, Tensor] = {}
        if masks is not None:
            target = torch.cat([mask_targets(*pair, masks.shape[1]) for pair in pairs])
            total = binary_cross_entropy_with_logits(masks.float(), target, reduction="sum")
            losses["mask"] = self._instances.mask_weight * total / max(target.numel(), 1)
        if heatmaps is not None:
            target = torch.cat([heatmap_targets(*pair, heatmaps.shape[1]) for pair in pairs])
            losses["keypoint"] = self._instances.keypoint_weight * vertex_loss(heatmaps, target)
        return losses
