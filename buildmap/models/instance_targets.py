"""The truth inside regions of interest: which building each holds, its mask, and where its vertices are.

A region is cut into cells as the predicted map is. The truth of vertices is a heat map: a Gaussian about
each, whose standard deviation follows the size of the building (Law & Deng 2018, section 3.2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_iou, roi_align

from buildmap.models.instance_network import Objects

_IOU_KEPT = 0.7
"""Of two boxes whose corners are one radius apart."""
_DEVIATIONS = 3
"""Standard deviations in a radius."""
_TOLERANCE = 1e-3
"""Cells that a vertex on a region's border may lie outside of it, by rounding."""
_VERTICES_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Boxes of one image in which to learn masks and vertices."""

    boxes: Tensor
    """(n, 4) left, top, right, bottom in pixel corners."""
    matched: Tensor
    """(n,) which of the image's buildings each holds."""


def match_regions(boxes: Tensor, objects: Objects, *, iou_min: float, most: int) -> Regions:
    """Choose the boxes that hold a building, the buildings' own boxes first.

    Args:
        boxes: (n, 4) proposed, best first.
        objects: The image's buildings.
        iou_min: Of a box with the building that it holds.
        most: Boxes chosen.
    """
    if len(objects.boxes) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return Regions(boxes=boxes[:0], matched=nothing)
    boxes = torch.cat([objects.boxes.to(boxes), boxes])
    iou, matched = box_iou(boxes, objects.boxes.to(boxes)).max(dim=1)
    chosen = torch.where(iou >= iou_min)[0][:most]
    return Regions(boxes=boxes[chosen], matched=matched[chosen])


def mask_targets(regions: Regions, objects: Objects, side: int) -> Tensor:
    """Give the share of building in each cell, (n, side, side), 0..1 (He et al. 2017, section 3).

    The mask is sampled where the features are: torchvision's `project_masks_on_boxes` is half a pixel off.
    """
    masks = objects.masks[:, None].to(regions.boxes)
    numbered = torch.cat([regions.matched[:, None].to(regions.boxes), regions.boxes], dim=1)
    share: Tensor = roi_align(masks, numbered, side, aligned=True)
    return share[:, 0]


def heatmap_targets(regions: Regions, objects: Objects, side: int) -> Tensor:
    """Draw the vertices of each region's building, (n, side, side), 0..1, 1 in the cell of a vertex.

    A vertex outside of the region is not drawn; one on its border is in the cell beside it. A Gaussian is
    centred on the vertex itself, which says where in its cell it is; where several meet, the largest counts.
    The building's size is that of its own box, measured in cells.
    """
    heat = regions.boxes.new_zeros(len(regions.boxes), side, side)
    if len(heat) == 0 or not any(len(vertices) for vertices in objects.vertices):
        return heat
    cells = side / (regions.boxes[:, 2:] - regions.boxes[:, :2])  # (n, 2) per pixel, along x and y
    padded = pad_sequence(list(objects.vertices), batch_first=True, padding_value=torch.nan).to(heat)
    at = (padded[regions.matched] - regions.boxes[:, None, :2]) * cells[:, None]  # (n, k, 2)
    held = objects.boxes.to(heat)[regions.matched]
    sigma = vertex_sigma((held[:, 2:] - held[:, :2]) * cells)
    for some in torch.split(at, _VERTICES_AT_ONCE, dim=1):
        heat = torch.maximum(heat, _draw(some, sigma, side))
    return heat


def vertex_sigma(size: Tensor) -> Tensor:
    """Give the standard deviation (n,) for boxes of a width and height (n, 2), in the same unit.

    A third of CornerNet's radius: two corners that are both at most so far off still make a box of IoU 0.7
    with the true one. It is the smallest of three, for both corners moved the same way, both inwards, and
    both outwards; the published code's roots, which are not those of its equations, are not followed.
    """
    total, area = size.sum(dim=1), size.prod(dim=1)
    lost = 1 - _IOU_KEPT
    moved = (total - (total**2 - 4 * area * lost / (1 + _IOU_KEPT)).sqrt()) / 2
    inwards = (total - (total**2 - 4 * area * lost).sqrt()) / 4
    outwards = ((total**2 + 4 * area * lost / _IOU_KEPT).sqrt() - total) / 4
    return torch.stack([moved, inwards, outwards]).amin(dim=0) / _DEVIATIONS


def _draw(at: Tensor, sigma: Tensor, side: int) -> Tensor:
    """Draw vertices (n, k, 2), x and y in cells, nan for none, as (n, side, side)."""
    outside = ~((at >= -_TOLERANCE) & (at <= side + _TOLERANCE)).all(dim=2)
    number = torch.arange(side, device=at.device)
    distance = number + 0.5 - at[..., None]  # (n, k, 2, side)
    near = (-(distance**2) / (2 * sigma[:, None, None, None] ** 2)).exp()
    bumps = near[:, :, 1, :, None] * near[:, :, 0, None, :]  # (n, k, rows, cols)
    own = number == at.floor().clamp(0, side - 1)[..., None]
    bumps = bumps.masked_fill(own[:, :, 1, :, None] & own[:, :, 0, None, :], 1.0)
    return bumps.masked_fill(outside[..., None, None], 0.0).amax(dim=1)
