"""Boundary alignment loss, BD (Bokhovkin and Burnaev 2019, arXiv 1905.07852; Kang et al. 2022, equation 4).

Symbols: theta0 is `boundary_px`, theta is `tolerance_px`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.losses.pixels import class_maps, none_without_valid, smallest


class BoundaryAlignment(nn.Module):
    """The sum over both classes of 1 - F1 of the predicted boundary, over the valid pixels of a whole batch.

    A class's boundary is how much more the other class is present within a square around a pixel than in
    the pixel itself. Precision is the share of the predicted boundary that lies on the true one widened by
    the tolerance, recall the share of the true boundary on the predicted one widened. Neither the image's
    edge nor that of invalid ground is a boundary. A class without a true boundary in the batch adds 1 and
    no gradient.
    """

    def __init__(self, boundary_px: int, tolerance_px: int) -> None:
        """Take the sides of two squares, odd: the one that finds a boundary, the one that widens it."""
        super().__init__()
        self.boundary_px, self.tolerance_px = boundary_px, tolerance_px

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compare the boundaries in valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in 0..2, single precision; 0 when no pixel is valid.
        """
        probability, truth = class_maps(logits, target, valid)
        if not probability.numel():
            return probability.sum()
        counts = _chips_last(valid[:, None].to(truth.dtype).expand_as(truth))
        predicted, predicted_wide = self._boundaries(_chips_last(probability), counts)
        true, true_wide = self._boundaries(_chips_last(truth), counts)
        found, claimed = _per_class(predicted * true_wide), _per_class(predicted)
        met, there = _per_class(true * predicted_wide), _per_class(true)
        # 2 P R / (P + R) with P = found / claimed and R = met / there, which may both be 0 / 0.
        both = found * there + met * claimed
        f1 = 2 * found * met / both.clamp(min=smallest(both))
        return none_without_valid((1 - f1).sum(), valid)

    def _boundaries(self, maps: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Find the boundaries in maps of both classes, and widen them.

        What lies outside one class lies inside the other: each map yields the boundary of the other class.

        Args:
            maps: (1, 2B, H, W), 0 in invalid pixels, which are then never above their neighbours.
            counts: (1, 2B, H, W), 0 in invalid pixels and 1 in the others.

        Returns:
            Boundaries, 0 in invalid pixels, and widened boundaries, anything in invalid pixels.
        """
        boundary = (_highest(maps, self.boundary_px) - maps) * counts
        return boundary, _highest(boundary, self.tolerance_px)


def _highest(maps: Tensor, size_px: int) -> Tensor:
    return F.max_pool2d(maps, size_px, stride=1, padding=size_px // 2)


def _chips_last(maps: Tensor) -> Tensor:
    """Lay (B, 2, H, W) out as (1, 2B, H, W), pixel after pixel, where CPUs find maxima many times as fast."""
    return maps.reshape(1, -1, *maps.shape[2:]).contiguous(memory_format=torch.channels_last)


def _per_class(maps: Tensor) -> Tensor:
    """Sum (1, 2B, H, W) to (2,)."""
    return maps.sum((0, 2, 3)).reshape(-1, 2).sum(0)
