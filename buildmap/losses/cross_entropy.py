"""Binary cross-entropy on logits."""

import torch.nn.functional as F
from torch import Tensor, nn


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
        # Half precision can neither count a batch's pixels nor sum them.
        seen = logits[:, 0].float().masked_fill(~valid, 0.0)
        per_pixel = F.binary_cross_entropy_with_logits(seen, target.float(), reduction="none")
        return per_pixel.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)
