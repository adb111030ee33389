"""Soft Dice loss (Milletari et al. 2016, section 3), over a batch at once."""

import torch
from torch import Tensor, nn


class Dice(nn.Module):
    """1 - 2 sum(p y) / (sum(p) + sum(y)), sums over the valid pixels of a whole batch.

    Chips without a building have no Dice coefficient of their own; the batch nearly always does.
    """

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compare valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in 0..1, single precision; 0 when no pixel is valid.
        """
        # Replaced before the sigmoid: 0 * NaN in an invalid pixel's gradient would be NaN.
        probability = logits[:, 0].float().masked_fill(~valid, 0.0).sigmoid().masked_fill(~valid, 0.0)
        truth = target.float().masked_fill(~valid, 0.0)
        overlap = (probability * truth).sum()
        total = probability.sum() + truth.sum()
        loss = 1 - 2 * overlap / total.clamp(min=torch.finfo(torch.float32).tiny)
        return torch.where(valid.any(), loss, torch.zeros_like(loss))
