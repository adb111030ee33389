"""Images of bright rectangles, with the truth about them, and small networks to find these."""

from collections.abc import Sequence

import torch
from torch import Tensor

from buildmap.models.instance_network import Objects
from buildmap.preset import Instances, Model
from tests.models.small_encoders import RESNET


def small_model(name: str, *, parts: str = "mask+keypoint", **changes: object) -> Model:
    values: dict[str, object] = {"roi_px": 14, "most": 16, "anchor_px": (32, 64, 128)} | changes
    instances = Instances(parts=parts, **values)  # type: ignore[arg-type]
    return Model(name=name, encoder=RESNET, width=16, instances=instances)  # type: ignore[arg-type]


def draw(
    boxes: Sequence[tuple[int, int, int, int]], rows: int, cols: int, *, bands: int = 3
) -> tuple[Tensor, Objects]:
    """Draw rectangles of ones on faint noise, and tell where they are."""
    image = 0.1 * torch.randn(bands, rows, cols)
    masks = torch.zeros(len(boxes), rows, cols, dtype=torch.bool)
    corners = []
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
        corners.append(torch.tensor([[left, top], [right, top], [right, bottom], [left, bottom]]).float())
    image += masks.any(dim=0)
    where = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return image, Objects(boxes=where, masks=masks, vertices=tuple(corners))
