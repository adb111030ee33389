"""Exponential logarithmic loss, ELL (Wong et al. 2018, section 2.2).

Symbols: gamma is the exponent, epsilon the pseudocount of the Dice coefficients, w the weight of a class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.losses.pixels import mean_over_valid, none_without_valid, smallest, take_valid

_GAMMA = 0.3
_EPSILON = 1.0
_DICE_SHARE, _CROSS_SHARE = 0.8, 0.2


class ExponentialLogarithmic(nn.Module):
    """0.8 mean((-ln Dice)^0.3) over both classes + 0.2 mean(w (-ln p)^0.3) over valid pixels.

    p is the probability of a pixel's true class and w the root of all pixels over those of that class. The
    paper counts them in the training set; here they are counted in the batch, the same on average and
    without a pass over all annotations. Dice has one pixel added above and below the line, for classes
    that are absent.
    """

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Compare valid pixels.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in single precision; 0 when no pixel is valid.
        """
        logit, truth = take_valid(logits, target, valid)
        # The logit of the true class against the other one.
        truth_logit = (2 * truth - 1) * logit
        is_class = torch.stack((1 - truth, truth)).masked_fill(~valid, 0.0)
        cross = _cross(truth_logit, is_class, valid)
        return none_without_valid(
            _DICE_SHARE * _dice(truth_logit, is_class, valid) + _CROSS_SHARE * cross, valid
        )


def _dice(truth_logit: Tensor, is_class: Tensor, valid: Tensor) -> Tensor:
    """Give the mean of (-ln Dice)^gamma over both classes."""
    overlap = (is_class * truth_logit.sigmoid()).sum((1, 2, 3))
    # What a class lacks is what the other has too much. As a sum of its own it keeps the digits of
    # -ln Dice, where Dice itself is rounded to 1.
    missed = (-truth_logit).sigmoid().masked_fill(~valid, 0.0).sum()
    return _to_gamma(torch.log1p(missed / (2 * overlap + _EPSILON))).mean()


def _cross(truth_logit: Tensor, is_class: Tensor, valid: Tensor) -> Tensor:
    """Give the mean of w (-ln p)^gamma over valid pixels."""
    counts = is_class.sum((1, 2, 3))
    weights = (counts.sum() / counts.clamp(min=1)).sqrt()
    per_pixel = _to_gamma(-F.logsigmoid(truth_logit))
    return mean_over_valid((weights[:, None, None, None] * is_class).sum(0) * per_pixel, valid)


def _to_gamma(values: Tensor) -> Tensor:
    """Raise values to gamma.

    The power's slope is infinite at 0, while all that it is multiplied with on the way to the logits is 0
    there: NaN. Values that small have lost their gradient anyway, and the clamp gives them none.
    """
    return values.clamp(min=smallest(values)).pow(_GAMMA)
