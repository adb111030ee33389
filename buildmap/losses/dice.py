"""Soft Dice loss (Milletari et al. 2016, section 3), over a batch at once."""

from torch import Tensor, nn

from buildmap.losses.pixels import none_without_valid, smallest, take_valid


def soft_dice(probability: Tensor, truth: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Give 2 sum(p y) / (sum(p) + sum(y)), summed over some dimensions; 0 where both are empty."""
    total = probability.sum(dims) + truth.sum(dims)
    return 2 * (probability * truth).sum(dims) / total.clamp(min=smallest(total))


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
        logit, truth = take_valid(logits, target, valid)
        probability = logit.sigmoid().masked_fill(~valid, 0.0)
        return none_without_valid(1 - soft_dice(probability, truth, (0, 1, 2)), valid)
