"""Boundary loss on unsigned distances (Su et al. 2025, section 2.5), and the distances themselves.

The paper's text gives what weights the pixels (their Euclidean distance to the true boundary, nearer ones
counting more), but neither the term nor the decay. Here the term is |p - y| and the weight 1 / d, d the
distance in pixels to the nearest pixel of the other class: 1 on both sides of a boundary. Divided by the
sum of weights, the loss is in 0..1 whatever the image holds.
"""

import torch
from torch import Tensor, nn

_FAR = 2**29
"""Squared pixels: farther than anything, and safe to add a squared side to."""
_LOOK_EVERY = 16
"""Steps between two questions whether the search is done, each of which waits for the device."""


class BoundaryDistance(nn.Module):
    """sum(|p - y| / d) / sum(1 / d) over the valid pixels of a batch.

    An image of one class has no boundary, and no part in the loss.
    """

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Average errors near boundaries.

        Args:
            logits: (B, 1, H, W).
            target: (B, H, W), 0 or 1.
            valid: (B, H, W) bool, False where the image has no data.

        Returns:
            Scalar in 0..1, single precision; 0 when no image has a boundary.
        """
        building = (target > 0.5) & valid
        apart = distance_to_other_class(building, valid)
        weight = apart.reciprocal().masked_fill(~valid, 0.0)  # of an infinite distance, 0
        # Replaced before the sigmoid: 0 * NaN in an invalid pixel's gradient would be NaN.
        probability = logits[:, 0].float().masked_fill(~valid, 0.0).sigmoid()
        error = torch.where(building, 1 - probability, probability)
        return (weight * error).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).tiny)


def distance_to_other_class(building: Tensor, valid: Tensor) -> Tensor:
    """Measure to the nearest valid pixel of the other class, centre to centre.

    Args:
        building: (B, H, W) bool, within valid.
        valid: (B, H, W) bool.

    Returns:
        Pixels, at least 1, single precision, (B, H, W); infinite where there is none; meaningless where
        invalid.
    """
    to_building, to_ground = distance_to(torch.cat([building, valid & ~building])).chunk(2)
    return torch.where(building, to_ground, to_building)


@torch.no_grad()
def distance_to(seeds: Tensor) -> Tensor:
    """Measure to the nearest seed, exactly (Saito and Toriwaki 1994): along columns, then across.

    Args:
        seeds: (B, H, W) bool, sides of at most 16,384.

    Returns:
        Pixels, single precision, (B, H, W); infinite where an image has no seed.
    """
    squared = _column_distance(seeds).square().clamp(max=_FAR)
    best = squared.clone()
    anywhere = seeds.flatten(1).any(1)[:, None, None]
    for step in range(1, seeds.shape[2]):
        aside = squared[:, :, :-step] + step * step, squared[:, :, step:] + step * step
        best[:, :, step:] = torch.minimum(best[:, :, step:], aside[0])
        best[:, :, :-step] = torch.minimum(best[:, :, :-step], aside[1])
        if step % _LOOK_EVERY == 0 and (best * anywhere).max() <= step * step:
            break
    return torch.where(best < _FAR, best.double().sqrt().float(), torch.inf)


def _column_distance(seeds: Tensor) -> Tensor:
    """Count the rows to the nearest seed of the same column, (B, H, W); beyond 2 ** 15 where it has none."""
    none = 2**15
    rows = torch.arange(seeds.shape[1], device=seeds.device, dtype=torch.int32)[:, None]
    above = torch.where(seeds, rows, -none).cummax(1).values
    below = torch.where(seeds, rows, 2 * none).flip(1).cummin(1).values.flip(1)
    return torch.minimum(rows - above, below - rows)
