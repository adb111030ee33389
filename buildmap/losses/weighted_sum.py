"""The training loss of a preset: a weighted sum of losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from buildmap.losses.boundary_alignment import BoundaryAlignment
from buildmap.losses.boundary_distance import BoundaryDistance
from buildmap.losses.cross_entropy import CrossEntropy, WeightedCrossEntropy
from buildmap.losses.dice import Dice
from buildmap.losses.exponential_logarithmic import ExponentialLogarithmic
from buildmap.losses.logit_adjusted import LogitAdjustedCrossEntropy
from buildmap.losses.noise_robust_dice import NoiseRobustDice
from buildmap.losses.weighted_dice import WeightedDice
from buildmap.preset import Loss


def build_loss(loss: Loss) -> "WeightedSum":
    """Sum the losses a preset gives a weight."""
    parts = (
        (loss.bce, CrossEntropy()),
        (loss.wce, WeightedCrossEntropy(loss.building_prior)),
        (loss.dice, Dice()),
        (loss.nr_dice, NoiseRobustDice(loss.noise_exponent)),
        (loss.ell, ExponentialLogarithmic()),
        (loss.wdice, WeightedDice(loss.building_prior)),
        (loss.lace, LogitAdjustedCrossEntropy(loss.building_prior, loss.temperature)),
        (loss.boundary_alignment, BoundaryAlignment(loss.boundary_px, loss.tolerance_px)),
        (loss.boundary_distance, BoundaryDistance()),
    )
    return WeightedSum([(weight, part) for weight, part in parts if weight], normalized=loss.normalized)


class WeightedSum(nn.Module):
    """Sum of weight * loss over its parts, or of weight * loss / scale.

    A loss's scale is what it is on the same batch for logits of 0, p = 0.5 everywhere. So HR-Mamba's
    "scale normalization" is read here (Su et al. 2025, section 2.5), which gives no formula.
    """

    def __init__(self, parts: Sequence[tuple[float, nn.Module]], *, normalized: bool = False) -> None:
        """Take weights and losses, in the order they are summed."""
        super().__init__()
        self.normalized = normalized
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Sum the weighted losses.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in single precision.
        """
        terms = torch.stack([part(logits, target, valid) for part in self.parts])
        if self.normalized:
            unknown = torch.zeros_like(logits)
            scales = torch.stack([part(unknown, target, valid) for part in self.parts])
            terms = terms / scales.where(scales > 0, 1.0)
        return (terms * terms.new_tensor(self.weights)).sum()
