"""The detector of points against torchvision's FCOS with the same head."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator

from buildmap.models.fcos import PointDetector, match_points
from buildmap.models.instance_network import Objects
from buildmap.preset import Instances

WIDTH = 16
SIDE = 256
STRIDES = (8, 16, 32, 64, 128)


def features_of(images: int) -> list[torch.Tensor]:
    return [torch.randn(images, WIDTH, SIDE // 2**level, SIDE // 2**level) for level in range(2, 8)]


def objects_of(boxes: list[list[float]]) -> Objects:
    return Objects(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        masks=torch.zeros(len(boxes), SIDE, SIDE, dtype=torch.bool),
        vertices=(torch.zeros(0, 2),) * len(boxes),
    )


BUILDINGS = [
    [[10.0, 12.0, 60.0, 40.0], [20.0, 16.0, 40.0, 38.0], [100.0, 80.0, 250.0, 230.0], [70.0, 3.0, 77.0, 9.0]],
    [],
    [[0.0, 0.0, 256.0, 256.0]],
]


def make(most: int = 40, score_min: float = 0.0) -> tuple[PointDetector, FCOS, list[torch.Tensor]]:
    """Make ours, theirs with our head, and the cells about our points."""
    torch.manual_seed(0)
    ours = PointDetector(Instances(most=most, score_min=score_min, nms_iou=0.3), WIDTH)
    for parameter in ours.head.parameters():
        nn.init.normal_(parameter, std=0.15)
    nn.init.constant_(ours.head.regression_head.bbox_reg.bias, 0.6)  # boxes about as large as cells
    backbone = nn.Identity()
    backbone.out_channels = WIDTH  # type: ignore[assignment]
    theirs = FCOS(
        backbone,
        num_classes=1,
        head=ours.head,
        anchor_generator=AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * 5),
        score_thresh=score_min,
        nms_thresh=0.3,
        detections_per_img=most,
    )
    cells = []
    for stride in STRIDES:
        start = torch.arange(0, SIDE, stride).float()
        y, x = torch.meshgrid(start, start, indexing="ij")
        cells.append(torch.stack([x, y, x + stride, y + stride], dim=2).reshape(-1, 4))
    return ours, theirs, cells


def test_losses_are_torchvision_s() -> None:
    ours, theirs, cells = make()
    features = features_of(3)
    found, _ = ours.losses(features, [objects_of(boxes) for boxes in BUILDINGS])
    targets = [
        {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.zeros(len(boxes), dtype=torch.int64)}
        for boxes in BUILDINGS
    ]
    counts = [len(level) for level in cells]
    outputs = ours.head(features[1:])
    expected = theirs.compute_loss(
        [targets[0], targets[2]],
        {name: said[[0, 2]] for name, said in outputs.items()},
        [torch.cat(cells)] * 2,
        counts,
    )
    two, _ = ours.losses([level[[0, 2]] for level in features], [objects_of(BUILDINGS[i]) for i in (0, 2)])
    torch.testing.assert_close(two["classification"], expected["classification"])
    torch.testing.assert_close(two["box"], expected["bbox_regression"])
    torch.testing.assert_close(two["centreness"], expected["bbox_ctrness"])
    # An image without a building adds to the classification alone.
    torch.testing.assert_close(found["box"], two["box"])
    torch.testing.assert_close(found["centreness"], two["centreness"])
    assert found["classification"] > two["classification"]


@pytest.mark.parametrize("score_min", [0.0, 0.5])
def test_boxes_found_are_torchvision_s(score_min: float) -> None:
    ours, theirs, cells = make(score_min=score_min)
    features = features_of(2)
    with torch.inference_mode():
        found = ours(features)
        counts = [len(level) for level in cells]
        outputs = {name: list(said.split(counts, dim=1)) for name, said in ours.head(features[1:]).items()}
        expected = theirs.postprocess_detections(outputs, [cells] * 2, [(SIDE, SIDE)] * 2)
    for (boxes, scores), other in zip(found, expected, strict=True):
        large = ((other["boxes"][:, 2:] - other["boxes"][:, :2]) >= 1).all(dim=1)
        count = int(large.sum())
        assert count > 5
        torch.testing.assert_close(boxes[:count], other["boxes"][large])
        torch.testing.assert_close(scores[:count], other["scores"][large])


def test_every_building_is_learned_by_points_inside_it_of_its_own_size() -> None:
    _, _, cells = make()
    boxes = torch.tensor(BUILDINGS[0])
    matched = match_points(cells, boxes)
    points = (torch.cat(cells)[:, :2] + torch.cat(cells)[:, 2:]) / 2
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        own = points[matched == number]
        assert len(own) > 0
        assert ((own[:, 0] > left) & (own[:, 0] < right) & (own[:, 1] > top) & (own[:, 1] < bottom)).all()
    # the point (28, 28) is in the first two; the second is the smaller
    assert matched[(points == 28.0).all(dim=1)].tolist()[0] == 1


def test_regions_are_the_buildings_and_boxes_found_about_them() -> None:
    ours, _, _ = make(most=6)
    _, regions = ours.losses(features_of(3), [objects_of(boxes) for boxes in BUILDINGS])
    assert [len(one.boxes) for one in regions][1] == 0
    assert len(regions[0].boxes) == 3  # half as many as the image may have
    assert torch.equal(regions[0].boxes, torch.tensor(BUILDINGS[0])[:3])
    assert not any(one.boxes.requires_grad for one in regions)
