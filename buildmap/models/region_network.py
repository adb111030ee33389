"""A network that finds boxes in a pyramid of features, and then looks into each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from buildmap.models.instance_branches import Branches
from buildmap.models.instance_network import Detections, InstanceNetwork, Objects
from buildmap.models.instance_targets import Regions
from buildmap.models.pyramid import Pyramid

Found = tuple[Tensor, Tensor]
"""Boxes (n, 4) in pixel corners within the image, and their scores (n,), best first."""

_REGIONS_AT_ONCE = 32
"""The branches of 256 regions need gigabytes, most of them for what is forgotten at once."""


class Detector(nn.Module):
    """What finds boxes in features (B, width, H / 2^k, W / 2^k), k = 2 first."""

    def losses(
        self, features: Sequence[Tensor], objects: Sequence[Objects]
    ) -> tuple[dict[str, Tensor], list[Regions]]:
        """Give the losses over all images, and the regions in which to learn the rest."""
        raise NotImplementedError

    def forward(self, features: Sequence[Tensor]) -> list[Found]:
        """Find boxes in each image."""
        raise NotImplementedError


class RegionNetwork(InstanceNetwork):
    """A pyramid, a detector, and the branches of masks and vertices."""

    def __init__(self, *, pyramid: Pyramid, detector: Detector, branches: Branches, stride: int) -> None:
        """Put the parts together.

        Args:
            pyramid: Maps images to features.
            detector: Finds boxes in them.
            branches: What is said of each box.
            stride: Image sides are multiples of it.
        """
        super().__init__()
        self.pyramid = pyramid
        self.detector = detector
        self.branches = branches
        self.stride = stride

    def losses(self, images: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Give the weighted losses by name, over all images; an image may be without a building."""
        features = self.pyramid(images)
        losses, regions = self.detector.losses(features, objects)
        return losses | self.branches.losses(features, regions, objects)

    def detect(self, images: Tensor) -> list[Detections]:
        """Find buildings in images (B, bands, H, W)."""
        features = self.pyramid(images)
        found = self.detector(features)
        return [
            self._describe([level[at : at + 1] for level in features], *one) for at, one in enumerate(found)
        ]

    def _describe(self, features: Sequence[Tensor], boxes: Tensor, scores: Tensor) -> Detections:
        """Look into the boxes (n, 4) of one image."""
        # A graph for export has no loop: there they are looked at together.
        pieces = (boxes,) if torch.compiler.is_exporting() else torch.split(boxes, _REGIONS_AT_ONCE)
        maps = [self.branches(features, [piece]) for piece in pieces]
        masks, heatmaps = (
            None if kind[0] is None else torch.cat(kind).float().sigmoid() for kind in zip(*maps, strict=True)
        )
        return Detections(boxes=boxes, scores=scores, masks=masks, heatmaps=heatmaps)
