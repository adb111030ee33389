"""Noise-robust Dice loss (Wang et al. 2020, IEEE Transactions on Medical Imaging 39(8))."""

from torch import Tensor, nn

from buildmap.losses.pixels import take_valid

_EPSILON = 1e-5


class NoiseRobustDice(nn.Module):
    """sum |p - y|^gamma / (sum p^2 + sum y^2 + epsilon), sums over the valid pixels of a whole batch.

    With gamma 2 it is 1 - Dice with squares in the denominator; with gamma 1 a weighted absolute error, which
    wrong annotations pull less. Below 2 it exceeds 1 where hardly anything is annotated, and then falls as
    the probability of plain background rises: batches should have buildings.
    """

    def __init__(self, exponent: float) -> None:
        """Take gamma, 1 to 2."""
        super().__init__()
        self.exponent = exponent

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compare valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in single precision, not negative; 0 when no pixel is valid.
        """
        logit, truth = take_valid(logits, target, valid)
        probability = logit.sigmoid().masked_fill(~valid, 0.0)
        error = (probability - truth).abs().pow(self.exponent).sum()
        return error / (probability.square().sum() + truth.square().sum() + _EPSILON)
