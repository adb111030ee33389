"""Buildings found one by one, seen as a picture of where they are: what mask networks give at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from buildmap.models.instance_network import Detections, InstanceNetwork

_LEAST = 1e-6
"""Probability below which, and above the rest of which to 1, logits no longer differ."""


def paint(found: Detections, shape: tuple[int, int]) -> Tensor:
    """Give the probability that each pixel of an image is building, (rows, cols) in float32.

    Of an object, a pixel has the lesser of its score and of its mask's probability there, and of several
    objects the greatest. So at a threshold exactly those pixels are building that lie in the mask of an
    object whose score reaches it, too. Masks are sampled at pixel centres as in prediction: bilinearly
    between the centres of their cells, with 0 beyond the outermost. Without masks, the box counts.

    Args:
        found: In one image.
        shape: Rows and columns of the image.
    """
    canvas = torch.zeros(shape, device=found.boxes.device)
    usable = found.boxes.isfinite().all(dim=1).tolist()
    for number, (left, top, right, bottom) in enumerate(found.boxes.tolist()):
        if not usable[number] or right <= left or bottom <= top:
            continue
        rows, cols = _pixels(top, bottom, shape[0]), _pixels(left, right, shape[1])
        probability = found.scores[number].float()
        if found.masks is not None:
            y, x = _places(rows, top, bottom, canvas), _places(cols, left, right, canvas)
            grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
            mask = F.grid_sample(found.masks[number, None, None].float(), grid[None], align_corners=False)
            probability = torch.minimum(mask[0, 0], probability)
        place = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
        canvas[place] = torch.maximum(canvas[place], probability)
    return canvas


class Painted(nn.Module):
    """A network that finds buildings one by one, in the place of one that gives a mask."""

    def __init__(self, network: InstanceNetwork) -> None:
        """Take the network as it is."""
        super().__init__()
        self._network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, bands, H, W) to logits (B, 1, H, W) of what `paint` gives."""
        rows, cols = image.shape[2:]
        found = self._network.detect(image)
        return torch.stack([paint(one, (rows, cols)) for one in found])[:, None].logit(_LEAST)


def _pixels(start: float, stop: float, extent: int) -> range:
    """Give the pixels along one axis whose centres lie in a box."""
    first, end = (min(max(math.ceil(edge - 0.5), 0), extent) for edge in (start, stop))
    return range(first, end)


def _places(pixels: range, start: float, stop: float, like: Tensor) -> Tensor:
    """Say where pixels' centres lie in a box, -1..1, as `grid_sample` takes it."""
    centres = torch.arange(pixels.start, pixels.stop, device=like.device, dtype=like.dtype) + 0.5
    return (centres - start) * (2 / (stop - start)) - 1
