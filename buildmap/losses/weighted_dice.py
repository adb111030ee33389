"""Dice losses of both classes, the rare one counting more (Kang et al. 2022, equation 3)."""

from torch import Tensor, nn

from buildmap.losses.dice import soft_dice
from buildmap.losses.pixels import class_maps, none_without_valid


class WeightedDice(nn.Module):
    """The sum over both classes of weight * (1 - Dice), with Dice over a whole batch.

    A class weighs as much as the prior of the other one, so that building, which is rare, counts 0.9 with
    the usual prior of 0.1. Equation 3 calls the weight pi as equation 1 does the prior, and section III-A
    sets pi to 0.9 for building and 0.1 for background. That suits this equation only: as priors in the
    logit adjustment these numbers would favour the class that is common anyway. The code published with
    the paper has both orders, weights (0.1, 0.9) here and priors (0.9, 0.1) there, for background and
    building. With the priors as weights, a network that maps no building at all would have next to no loss.
    """

    def __init__(self, building_prior: float) -> None:
        """Take the share of building among pixels, 0..1."""
        super().__init__()
        self.building_prior = building_prior

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compare valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in 0..1, single precision; 0 when no pixel is valid.
        """
        background, building = (1 - soft_dice(*class_maps(logits, target, valid), (0, 2, 3))).unbind()
        loss = self.building_prior * background + (1 - self.building_prior) * building
        return none_without_valid(loss, valid)
