"""Two rectangles in one image are learned within seconds, and found where they are."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from buildmap.models import INSTANCE_MODELS, build_instances
from buildmap.models.instance_network import Detections, Objects
from tests.models.buildings import draw, small_model

SIDE = 96
LEARNING = {"mask-rcnn": (3e-3, 80), "fcos": (2e-3, 110)}
"""First learning rate, and steps."""


def learn(name: str) -> tuple[Detections, Objects]:
    """Train on one image, and look at it again."""
    torch.manual_seed(0)
    rate, steps = LEARNING[name]
    network = build_instances(replace(small_model(name, most=8), width=32), 3).train()
    image, objects = draw([(12, 16, 44, 56), (53, 38, 89, 75)], SIDE, SIDE)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, 2 * (1 - step / steps))
        optimizer.zero_grad()
        sum(network(image[None], [objects]).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    with torch.inference_mode():
        return network.eval().detect(image[None])[0], objects


def paint(mask: Tensor, box: Tensor) -> Tensor:
    """Give the pixels of the image whose middle is in the mask over a box."""
    rows, cols = mask.shape
    left, top, right, bottom = box.tolist()
    middle = torch.arange(SIDE) + 0.5
    col = ((middle - left) / (right - left) * cols).floor().long()
    row = ((middle - top) / (bottom - top) * rows).floor().long()
    inside = ((row >= 0) & (row < rows))[:, None] & ((col >= 0) & (col < cols))
    return inside & (mask[row.clamp(0, rows - 1)][:, col.clamp(0, cols - 1)] > 0.5)


def corners(heatmap: Tensor, box: Tensor) -> Tensor:
    """Give the likeliest place in each quarter of the box, (4, 2) x and y in the image.

    A vertex on the box's border is the likeliest in the cell beside it.
    """
    side = heatmap.shape[0]
    half = side // 2
    found = []
    for top in (0, half):
        for left in (0, half):
            row, col = divmod(int(heatmap[top : top + half, left : left + half].argmax()), half)
            found.append([left + col, top + row])
    cells = torch.tensor(found).float()
    places = (cells + 0.5).masked_fill(cells == 0, 0.0).masked_fill(cells == side - 1, float(side))
    return box[:2] + places / side * (box[2:] - box[:2])


@pytest.mark.parametrize("name", INSTANCE_MODELS)
def test_two_rectangles_are_learned_and_found(name: str) -> None:
    found, objects = learn(name)
    assert found.masks is not None and found.heatmaps is not None
    sure = found.scores > 0.5
    assert int(sure.sum()) == 2
    which = box_iou(objects.boxes, found.boxes[sure]).argmax(dim=1)
    assert sorted(which.tolist()) == [0, 1]
    for number, at in enumerate(which.tolist()):
        box, truth = found.boxes[at], objects.masks[number]
        painted = paint(found.masks[at], box)
        assert (painted & truth).sum() / (painted | truth).sum() > 0.8
        distance = torch.cdist(objects.vertices[number], corners(found.heatmaps[at], box))
        assert distance.amin(dim=1).max() < 1.5
