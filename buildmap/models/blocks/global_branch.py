"""HR-Mamba's global branch (Su et al. 2025, figure 2b and section 2.4), and what mixes it with the trunk.

The paper gives C = 256 and 156,912 parameters. That is exactly: C -> d -> C projections with biases and
d = 80, a standard Mamba block of 48,800 between them, one C -> C projection, on the bypass, and two
normalizations of C channels. Where the two stand is not said: one is before the branch, as is usual
around a Mamba block, and one after the sum, as the text says.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.models.blocks.selective_scan import Mamba


class GlobalBranch(nn.Module):
    """Lets every position see all before it, row after row."""

    def __init__(
        self, channels: int, *, width: int = 80, states: int = 16, kernel: int = 4, expansion: int = 2
    ) -> None:
        """Make the projections.

        Args:
            channels: C, of the input and of the output.
            width: d, channels of the sequence.
            states: Of each inner channel of the Mamba block.
            kernel: Positions its causal convolution sees.
            expansion: Its inner channels per channel.
        """
        super().__init__()
        self.norm_in = nn.LayerNorm(channels)
        self.reduce = nn.Linear(channels, width)
        self.mamba = Mamba(width, states=states, kernel=kernel, expansion=expansion)
        self.restore = nn.Linear(width, channels)
        self.bypass = nn.Linear(channels, channels)
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        sequence = self.norm_in(x.flatten(2).transpose(1, 2))  # (B, H x W, C), row after row
        far = self.restore(self.mamba(F.silu(self.reduce(sequence))))
        mixed: Tensor = self.norm_out(far + F.silu(self.bypass(sequence)))
        return mixed.transpose(1, 2).reshape(x.shape)


class Fusion(nn.Module):
    """Weighted mean of the trunk's and the branch's features; the weight, at first a half, is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self, trunk: Tensor, branch: Tensor) -> Tensor:
        """Mix two (B, C, H, W)."""
        return torch.lerp(trunk, branch, self.logit.sigmoid().to(trunk.dtype))
