"""Average pooling to a grid, as matrix products: torch's numbers, and ONNX can do it at any size."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class AdaptiveMean(nn.Module):
    """Means over `cells` x `cells` parts that cover a feature map, as in `nn.AdaptiveAvgPool2d`."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, cells, cells)."""
        rows = _shares(features.shape[2], self.cells, features)
        cols = _shares(features.shape[3], self.cells, features)
        return rows @ features @ cols.T


class PyramidPooling(nn.Module):
    """Features beside their own means over coarser and coarser grids (Zhao et al. 2017, figure 3c)."""

    def __init__(self, pools: Iterable[nn.Module]) -> None:
        """Take what pools and reduces: each maps (B, C, H, W) to (B, D, cells, cells)."""
        super().__init__()
        self.pools = nn.ModuleList(pools)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + sum of D, H, W)."""
        size = features.shape[2:]
        pooled = [interpolate(pool(features), size=size, mode="bilinear") for pool in self.pools]
        return torch.cat([*pooled, features], dim=1)


def make_exportable(network: nn.Module) -> None:
    """Put `AdaptiveMean` in the place of every pooling to a grid of more than one cell."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d) and (cells := _cells(child)) > 1:
                setattr(parent, name, AdaptiveMean(cells))


def _cells(pool: nn.AdaptiveAvgPool2d) -> int:
    size: Any = pool.output_size
    return int(size[0] if isinstance(size, tuple) else size)


def _shares(length: int, cells: int, like: Tensor) -> Tensor:
    """Give the share that every one of `length` pixels has in the mean of every cell (cells, length)."""
    cell = torch.arange(cells, device=like.device)[:, None]
    pixel = torch.arange(length, device=like.device)[None]
    first, past = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    inside = (first <= pixel) & (pixel < past)
    return inside.to(like.dtype) / (past - first).to(like.dtype)
