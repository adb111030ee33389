"""Logit-adjusted cross-entropy, LACE (Menon et al. 2021; Kang et al. 2022, equation 1).

Where buildings are missing from the map, background looks more common than it is. Adding to each class's
logit the logarithm of its prior asks for a larger margin where the class is rare.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.losses.pixels import mean_over_valid, take_valid


class LogitAdjustedCrossEntropy(nn.Module):
    """Cross-entropy of logits shifted by temperature * log(prior), averaged over valid pixels.

    With one logit z against a background of 0, both classes' shifts become one: z is shifted by
    temperature * log(prior of building / prior of background). Equation 1 sums over pixels; the mean differs
    by a factor and does not depend on the size of the batch.
    """

    def __init__(self, building_prior: float, temperature: float) -> None:
        """Fix the shift.

        Args:
            building_prior: Share of building among pixels, 0..1.
            temperature: Strength of the shift (tau); 0 is plain cross-entropy.
        """
        super().__init__()
        self.shift = temperature * math.log(building_prior / (1 - building_prior))

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
        per_pixel = F.binary_cross_entropy_with_logits(logit + self.shift, truth, reduction="none")
        return mean_over_valid(per_pixel, valid)
