"""Canny's edges of a batch of pictures (Canny 1986), on any device, without a loop over pictures or pixels.

The four steps are those of `skimage.feature.canny`: a Gaussian that leaves out what lies beyond the
border, Sobel's gradient, suppression of what is not the largest along the gradient (interpolated between
the two nearest neighbours), and hysteresis over the eight neighbours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from buildmap.models.blocks.precision import full_precision

_STRONG = 2**40
"""Added to a strong pixel's label, which is then larger than any other's."""
_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian ends."""


class Canny(nn.Module):
    """Edges of every channel, each a picture of its own.

    Edges are constants to the gradient: features they are added to learn as if nothing was added.
    """

    def __init__(self, low: float, high: float, sigma: float = 1.0) -> None:
        """Fix the parameters.

        Args:
            low: Length of Sobel's gradient (weights 1, 2, 1) from which a pixel may continue an edge.
            high: Length from which a pixel begins one.
            sigma: Standard deviation of the Gaussian, pixels.

        Raises:
            ValueError: If not 0 < low <= high, or sigma is not positive.
        """
        super().__init__()
        if not 0 < low <= high:
            raise ValueError(f"thresholds {low} and {high} are not positive and in order")
        if not sigma > 0:
            raise ValueError(f"sigma {sigma} is not positive")
        self.low, self.high, self.sigma = low, high, sigma

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Find edges.

        Args:
            x: (B, C, H, W); half precision is computed in single.

        Returns:
            1 on edges, else 0, (B, C, H, W), in the precision of x. The outermost pixels have none.
        """
        with full_precision(x):
            pictures = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(0, 1)
            thin = thin_edges(*gradients(smooth(pictures, self.sigma)))
            edges = hysteresis(thin >= self.low, thin >= self.high)
            return edges.view(x.shape).to(x.dtype)


def smooth(pictures: Tensor, sigma: float) -> Tensor:
    """Average with Gaussian weights over what lies inside the picture, (N, H, W)."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-0.5 / sigma**2 * offsets.square())
    kernel = kernel / kernel.sum()
    inside = _blur(torch.ones_like(pictures[:1]), kernel)
    return _blur(pictures, kernel) / (inside + torch.finfo(pictures.dtype).eps)


def _blur(pictures: Tensor, kernel: Tensor) -> Tensor:
    radius = kernel.numel() // 2
    down = F.conv2d(pictures[:, None], kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(down, kernel.view(1, 1, 1, -1), padding=(0, radius))[:, 0]


def gradients(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Give Sobel's gradient down and to the right, (N, H, W) each."""
    padded = F.pad(pictures[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    return (
        down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:],
        across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:],
    )


def thin_edges(down: Tensor, right: Tensor) -> Tensor:
    """Give the gradient's length where it is the largest along the gradient, else 0, (N, H, W).

    Along the gradient the length is interpolated between a neighbour beside or below (`straight`) and a
    diagonal one. The outermost pixels are 0.
    """
    rows, cols = down.shape[1:]
    length = torch.sqrt(down.square() + right.square())
    around = F.pad(length, (1, 1, 1, 1))
    steep = down.abs() > right.abs()
    falls = down * right >= 0
    upright = torch.where(steep, right.abs() / down.abs(), down.abs() / right.abs())
    share = upright.nan_to_num()

    def seen(row: int, col: int) -> Tensor:
        return around[:, 1 + row : 1 + row + rows, 1 + col : 1 + col + cols]

    largest = torch.ones_like(steep)
    for side in (1, -1):
        diagonal = torch.where(falls, seen(side, side), seen(-side, side))
        vertical = torch.where(falls, seen(side, 0), seen(-side, 0))
        straight = torch.where(steep, vertical, seen(0, side))
        largest &= diagonal * share + straight * (1 - share) <= length
    return torch.where(largest & _inner(rows, cols, length.device), length, 0)


def _inner(rows: int, cols: int, device: torch.device) -> Tensor:
    row, col = torch.arange(rows, device=device), torch.arange(cols, device=device)
    return ((row > 0) & (row < rows - 1))[:, None] & ((col > 0) & (col < cols - 1))


def hysteresis(weak: Tensor, strong: Tensor) -> Tensor:
    """Keep the weak pixels that a path of weak pixels joins to a strong one, over eight neighbours.

    Every pixel carries the largest label it has heard of; a label names a pixel, which is asked for its
    own, and told of larger ones (Zhang, Azad and Hu 2020, FastSV). Rounds grow as the logarithm of a
    path's length, where widening by a pixel a step would need its length. An exported graph runs a fixed
    number of rounds; all others stop when nothing changes, which is exact.

    Args:
        weak: (N, H, W) bool.
        strong: (N, H, W) bool, within weak.

    Returns:
        (N, H, W) bool.
    """
    rows, cols = weak.shape[1:]
    place = torch.arange(rows * cols, device=weak.device).view(rows, cols)
    label = torch.where(weak, place + _STRONG * strong, -1)
    before = torch.full_like(label, -1)
    if weak.is_meta:  # shapes only, for counting
        return weak
    if torch.compiler.is_exporting():
        label, _, _ = while_loop(_unsettled, _round, (label, before, weak))  # type: ignore[no-untyped-call]
    else:
        while _unsettled(label, before, weak):
            label, before, weak = _round(label, before, weak)
    return label >= _STRONG


def _unsettled(label: Tensor, before: Tensor, _weak: Tensor) -> Tensor:
    return (label != before).any()


def _round(label: Tensor, _before: Tensor, weak: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take the neighbours' labels, tell them to the pixels they replace, ask the pixels they name."""
    heard = torch.where(weak, _largest_around(label), -1).flatten(1)
    flat = label.flatten(1)
    flat = flat.scatter_reduce(1, _named(flat), heard, "amax").maximum(heard)
    for _ in range(2):
        flat = torch.where(flat >= 0, flat.maximum(flat.gather(1, _named(flat))), flat)
    # A loop in a graph may not hand on what it was handed.
    return flat.view(label.shape), label.clone(), weak.clone()


def _named(label: Tensor) -> Tensor:
    return torch.where(label >= _STRONG, label - _STRONG, label).clamp(min=0)


def _largest_around(label: Tensor) -> Tensor:
    padded = F.pad(label, (1, 1, 1, 1), value=-1)
    across = torch.maximum(torch.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    return torch.maximum(torch.maximum(across[:, :-2], across[:, 1:-1]), across[:, 2:])
