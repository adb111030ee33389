"""What every network is that finds buildings one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The buildings of one image, to learn from; coordinates are x, y in pixel corners of the image."""

    boxes: Tensor
    """(n, 4) float left, top, right, bottom; none is empty."""
    masks: Tensor
    """(n, H, W) bool, True = building."""
    vertices: tuple[Tensor, ...]
    """n of (k, 2) float x and y: the corners of each building's polygon that lie in the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The buildings found in one image, best first; coordinates as in `Objects`."""

    boxes: Tensor
    """(n, 4) float left, top, right, bottom, within the image."""
    scores: Tensor
    """(n,) confidence, 0..1."""
    masks: Tensor | None
    """(n, rows, cols) probability of building over the box, stretched to it; None from a network without."""
    heatmaps: Tensor | None
    """(n, rows, cols) probability of a vertex over the box, likewise; None from a network without."""


class InstanceNetwork(nn.Module):
    """Maps images (B, bands, H, W) to what it finds in each."""

    stride: int
    """Image sides are multiples of it."""
    any_size: bool = False
    """Images of other sides are taken too."""
    scale: int = 1
    """Nothing is enlarged."""

    def losses(self, images: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Give each loss by name, weighted as the model says: their sum is to be minimized.

        Args:
            images: (B, bands, H, W), normalized.
            objects: The buildings of each image.
        """
        raise NotImplementedError

    def detect(self, images: Tensor) -> list[Detections]:
        """Find buildings in images (B, bands, H, W), normalized; one result for each."""
        raise NotImplementedError

    def forward(
        self, images: Tensor, objects: Sequence[Objects] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Give `losses` where the truth is at hand, else what `detect` finds."""
        return self.detect(images) if objects is None else self.losses(images, objects)
