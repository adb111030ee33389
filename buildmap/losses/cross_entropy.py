"""Binary cross-entropy on logits."""

import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.losses.pixels import mean_over_valid, take_valid


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
