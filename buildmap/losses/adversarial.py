"""The vanilla adversarial loss (Goodfellow et al. 2014, equation 1 and section 3), pixel by pixel.

A discriminator gives every pixel's logit of being real. It learns to tell real pictures from made ones, and
the generator to make it err: with -log D instead of log(1 - D), which has no gradient as long as it fails.
"""

import torch
from torch import Tensor

from buildmap.losses.cross_entropy import CrossEntropy


def discriminator_loss(real: Tensor, made: Tensor, valid: Tensor) -> Tensor:
    """Give what the discriminator minimizes: the means of -log D(real) and -log(1 - D(made)), summed.

    Args:
        real: Its logits (B, 1, H, W) for true pictures.
        made: Its logits (B, 1, H, W) for pictures of the generator, which must not get a gradient: detached.
        valid: (B, H, W) bool, False where the image has no data.

    Returns:
        Scalar in single precision; 2 log 2 where it cannot tell; 0 when no pixel is valid.
    """
    return _judged(real, valid, real=True) + _judged(made, valid, real=False)


def generator_loss(made: Tensor, valid: Tensor) -> Tensor:
    """Give what the generator minimizes: -log D(made), averaged over valid pixels.

    Args:
        made: The discriminator's logits (B, 1, H, W) for its pictures.
        valid: (B, H, W) bool, False where the image has no data.

    Returns:
        Scalar in single precision; 0 when no pixel is valid.
    """
    return _judged(made, valid, real=True)


def _judged(logits: Tensor, valid: Tensor, *, real: bool) -> Tensor:
    target = torch.full_like(valid, real)
    loss: Tensor = CrossEntropy()(logits, target, valid)
    return loss
