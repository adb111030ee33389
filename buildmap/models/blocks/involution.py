"""Involution: a kernel for every position, shared by the channels of a group (Li et al. 2021).

Symbols: K is the kernel's side, G the groups, r the generator's reduction. Of HR-Mamba's shared
settings the paper gives none; K = 7, r = 4 and 16 channels to a group are those of Li et al., section 4.1.
"""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Involution(nn.Module):
    """Sum of a position's neighbours, weighted by a kernel generated at that position (equation 4).

    Neighbours are views of the padded input, one of the K x K after the other: K x K copies of the input
    are never made.
    """

    def __init__(
        self, channels: int, *, kernel: int = 7, group_channels: int = 16, reduction: int = 4
    ) -> None:
        """Make the kernel generator.

        Args:
            channels: Of the input and of the output.
            kernel: Side of the neighbourhood, odd.
            group_channels: Channels that share a kernel.
            reduction: Channels per channel of the generator's hidden layer.

        Raises:
            ValueError: If the kernel is even, or the channels cannot be shared out.
        """
        super().__init__()
        if kernel % 2 == 0 or kernel < 1:
            raise ValueError(f"kernel {kernel} is not odd")
        if channels % group_channels or channels % reduction:
            raise ValueError(f"{channels} channels are not a multiple of {group_channels} and {reduction}")
        self.kernel, self.groups = kernel, channels // group_channels
        hidden = channels // reduction
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.span = nn.Conv2d(hidden, kernel**2 * self.groups, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        kernels: Tensor = self.span(self.reduce(x))
        batch, _, rows, cols = kernels.shape
        return involve(x, kernels.view(batch, self.groups, self.kernel**2, rows, cols))


def involve(x: Tensor, kernels: Tensor) -> Tensor:
    """Weight every position's neighbours by its own kernel; beyond the border stand zeros.

    Args:
        x: (B, C, H, W).
        kernels: (B, G, K x K, H, W), neighbours in reading order.

    Returns:
        (B, C, H, W).
    """
    side = round(kernels.shape[2] ** 0.5)
    rows, cols = kernels.shape[3:]
    reach = side // 2
    padded = F.pad(x, (reach, reach, reach, reach))
    grouped = padded.view(x.shape[0], kernels.shape[1], -1, *padded.shape[2:])
    total: Tensor | None = None
    for place, (row, col) in enumerate(product(range(side), repeat=2)):
        seen = grouped[..., row : row + rows, col : col + cols]
        kernel = kernels[:, :, place, None]
        total = kernel * seen if total is None else torch.addcmul(total, kernel, seen)
    if total is None:
        raise ValueError("kernels have no positions")
    return total.flatten(1, 2)
