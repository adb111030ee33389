"""Binary cross-entropy on logits, plain or with each class weighted."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.losses.pixels import mean_over_valid, smallest, take_valid


class CrossEntropy(nn.Module):
    """Binary cross-entropy, -y log p - (1 - y) log(1 - p), averaged over valid pixels."""

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Average over valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in single precision; 0 when no pixel is valid.
        """
        logit, truth = take_valid(logits, target, valid)
        return mean_over_valid(F.binary_cross_entropy_with_logits(logit, truth, reduction="none"), valid)


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy in which each class counts by the other's prior, averaged with these weights.

    "Map-Guided Cross-Training for Building Detection" (section III-B) weighs "by class imbalance" without
    giving numbers. The weights here make both classes count the same where building has its prior.
    """

    def __init__(self, building_prior: float) -> None:
        """Take the share of building among pixels, 0..1."""
        super().__init__()
        self.building_prior = building_prior

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Average over valid pixels, as `torch.nn.CrossEntropyLoss` does with weights of classes.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in single precision; 0 when no pixel is valid.
        """
        logit, truth = take_valid(logits, target, valid)
        weight = torch.where(truth > 0, 1 - self.building_prior, self.building_prior).masked_fill(~valid, 0)
        per_pixel = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
        return (weight * per_pixel).sum() / weight.sum().clamp(min=smallest(weight))
