"""The median of every pixel's 3 x 3 neighbourhood, by a network of minima and maxima.

With each column of three sorted, the median of nine is the median of the largest minimum, the median
median and the smallest maximum (Smith 1996). A column is sorted once for the three windows it is in, so
18 minima and maxima do it, with neither nine copies of the image nor a sort.
"""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Median3x3(nn.Module):
    """Median filter, channel by channel; beyond the border stands the nearest pixel.

    The gradient goes to the pixel that was the median, the first in reading order among equals.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Filter (B, C, H, W); the result has the same shape."""
        if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting():
            filtered: Tensor = _Traced.apply(x)
            return filtered
        return _median(_padded(x))


class _Traced(torch.autograd.Function):
    """The filter with one byte per pixel kept for the gradient, where autograd would keep 18 images."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        padded = _padded(x)
        filtered = _median(padded)
        chosen = torch.zeros_like(x, dtype=torch.uint8)
        for place, neighbour in reversed(list(enumerate(_neighbours(padded)))):
            chosen.masked_fill_(neighbour == filtered, place)
        ctx.save_for_backward(chosen)
        return filtered

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (chosen,) = ctx.saved_tensors
        (gradient,) = gradients
        padded = F.pad(torch.zeros_like(gradient), (1, 1, 1, 1))
        for place, neighbour in enumerate(_neighbours(padded)):
            neighbour.add_(gradient.masked_fill(chosen != place, 0))
        # What went to a pixel repeated beyond the border belongs to the pixel itself.
        padded[..., 1, :] += padded[..., 0, :]
        padded[..., -2, :] += padded[..., -1, :]
        padded[..., 1] += padded[..., 0]
        padded[..., -2] += padded[..., -1]
        return padded[..., 1:-1, 1:-1]


def _padded(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


def _neighbours(padded: Tensor) -> list[Tensor]:
    """View the nine neighbours of every pixel, (B, C, H, W) each, in reading order."""
    rows, cols = padded.shape[-2] - 2, padded.shape[-1] - 2
    return [padded[..., i : i + rows, j : j + cols] for i, j in product(range(3), range(3))]


def _median(padded: Tensor) -> Tensor:
    lowest, middle, highest = _sorted(*_thirds(padded, -2))
    low, mid, high = _thirds(lowest, -1), _thirds(middle, -1), _thirds(highest, -1)
    most = torch.maximum(torch.maximum(low[0], low[1]), low[2])
    least = torch.minimum(torch.minimum(high[0], high[1]), high[2])
    return _middle(most, _middle(*mid), least)


def _thirds(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    length = x.shape[dim] - 2
    return x.narrow(dim, 0, length), x.narrow(dim, 1, length), x.narrow(dim, 2, length)


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = torch.minimum(a, b), torch.maximum(a, b)
    b, c = torch.minimum(b, c), torch.maximum(b, c)
    return torch.minimum(a, b), torch.maximum(a, b), c


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))
