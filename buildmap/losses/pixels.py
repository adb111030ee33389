"""What every loss does first and last: takes the pixels that count, and forgets the others."""

import torch
from torch import Tensor


def take_valid(logits: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Take logits and truth of the valid pixels, at least in single precision.

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 or 1.
        valid: (B, H, W) bool, False where the image has no data.

    Returns:
        Both (B, H, W), 0 in invalid pixels whatever stood there, NaN and infinity included.
    """
    # Half precision can neither count a batch's pixels nor sum them.
    precision = torch.promote_types(logits.dtype, torch.float32)
    # Filled before anything is computed: 0 * NaN in an invalid pixel's gradient would be NaN.
    logit = logits[:, 0].to(precision).masked_fill(~valid, 0.0)
    return logit, target.to(precision).masked_fill(~valid, 0.0)


def class_maps(logits: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Give probability and truth of both classes.

    Args:
        logits: (B, 1, H, W).
        target: (B, H, W), 0 or 1.
        valid: (B, H, W) bool.

    Returns:
        Both (B, 2, H, W), background and building, 0 in invalid pixels.
    """
    logit, truth = take_valid(logits, target, valid)
    # The sigmoid of -z and not 1 - p, which is 0 long before the background's probability is.
    probability = torch.stack((-logit, logit), 1).sigmoid()
    invalid = ~valid[:, None]
    return probability.masked_fill(invalid, 0.0), torch.stack((1 - truth, truth), 1).masked_fill(invalid, 0.0)


def mean_over_valid(per_pixel: Tensor, valid: Tensor) -> Tensor:
    """Average (B, H, W) over the valid pixels; 0 when there are none."""
    return per_pixel.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def none_without_valid(loss: Tensor, valid: Tensor) -> Tensor:
    """Give a scalar loss, or 0 without a gradient when no pixel is valid."""
    return torch.where(valid.any(), loss, torch.zeros_like(loss))


def smallest(values: Tensor) -> float:
    """Give the smallest positive number that values can have and still be divided by."""
    return torch.finfo(values.dtype).tiny
