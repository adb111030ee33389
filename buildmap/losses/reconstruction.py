"""How far a made picture is from the true one, pixel by pixel, and what the truth is sharpened with.

Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833, section 3.5) compares with a truth that went through an
unsharp mask: a network that learns from plain pictures draws blurred edges. Only where the picture
differs from its blurred self by more than a threshold is it sharpened, and the way there and back is soft,
so that even ground stays even. Radius, threshold and weight are those of the published code.
"""

import torch
from torch import Tensor

_KERNEL_PX = 51
"""Side of the blur: the published radius of 50, made odd."""
_SIGMA_PX = 0.3 * ((_KERNEL_PX - 1) / 2 - 1) + 0.8
"""OpenCV's rule for a Gaussian of which only the side is known."""
_WEIGHT = 0.5
_THRESHOLD = 10 / 255


@torch.no_grad()
def sharpen(picture: Tensor) -> Tensor:
    """Sharpen a picture's edges with an unsharp mask.

    Args:
        picture: (B, C, H, W), 0..1, finite in invalid pixels too.

    Returns:
        The same shape, in the precision of the picture but at least single; 0..1 if the picture is.
    """
    # Differences of a few grey levels decide, and half precision has none to lose.
    with torch.autocast(picture.device.type, enabled=False):
        truth = picture.to(torch.promote_types(picture.dtype, torch.float32))
        detail = truth - _blur(truth)
        share = _blur((detail.abs() > _THRESHOLD).to(truth.dtype))
        return torch.lerp(truth, (truth + _WEIGHT * detail).clamp(0, 1), share)


def mean_absolute_error(picture: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Average the distance of every colour over valid pixels: the L1 loss.

    Args:
        picture: (B, C, H, W), made.
        truth: (B, C, H, W), true; its gradient is not asked for.
        valid: (B, H, W) bool, False where the image has no data.

    Returns:
        Scalar, at least in single precision; 0 when no pixel is valid.
    """
    made, true = known(picture, valid), known(truth, valid)
    return (made - true).abs().sum() / (valid.sum() * picture.shape[1]).clamp(min=1)


def known(picture: Tensor, valid: Tensor) -> Tensor:
    """Blacken invalid pixels, so that a made and a true picture are alike there whatever stood in them.

    Args:
        picture: (B, C, H, W).
        valid: (B, H, W) bool.

    Returns:
        The same shape, at least in single precision.
    """
    precision = torch.promote_types(picture.dtype, torch.float32)
    return picture.to(precision).masked_fill(~valid[:, None], 0.0)


def _blur(picture: Tensor) -> Tensor:
    """Blur with the Gaussian, mirrored about the outermost pixels' centres: one matrix an axis."""
    rows, cols = (_blurring(side).to(picture) for side in picture.shape[2:])
    return rows @ picture @ cols.T


def _blurring(side: int) -> Tensor:
    """Give the share of every pixel in every blurred pixel of a line (side, side)."""
    reach = torch.arange(_KERNEL_PX) - _KERNEL_PX // 2
    shares = torch.exp(-(reach.double() ** 2) / (2 * _SIGMA_PX**2))
    period = max(2 * (side - 1), 1)
    place = (torch.arange(side)[:, None] + reach) % period
    mirrored = torch.minimum(place, period - place)
    lines = (shares / shares.sum()).expand(side, -1)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, mirrored, lines)
