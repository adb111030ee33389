"""The detector of two stages against torchvision's, plugged together from the same parts."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

from buildmap.models.boxes import boxes_of_cells
from buildmap.models.instance_network import Objects
from buildmap.models.mask_rcnn import TwoStageDetector
from buildmap.models.pyramid import cut_out, levels_by_size
from buildmap.preset import Instances

WIDTH = 16
SIDE = 128
BUILDINGS = [[[10.0, 12.0, 60.0, 40.0], [70.0, 64.0, 120.0, 120.0]], []]


class Cells(nn.Module):
    """Our first boxes, where torchvision asks for its own."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: ImageList, features: list[Tensor]) -> list[Tensor]:
        return [torch.cat(boxes_of_cells(self.generator, features))] * len(images.image_sizes)


class Cut(nn.Module):
    """Our way to cut regions out, likewise."""

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], _: object) -> Tensor:
        return cut_out(list(features.values()), boxes, levels_by_size(torch.cat(boxes), 0), 7)


def make(most: int = 30) -> TwoStageDetector:
    torch.manual_seed(1)
    detector = TwoStageDetector(
        Instances(most=most, score_min=0.3, nms_iou=0.5, anchor_px=(16, 32, 64)), WIDTH
    )
    for parameter in detector.parameters():
        nn.init.normal_(parameter, std=0.1)
    return detector


def proposer_of(detector: TwoStageDetector, most: int) -> RegionProposalNetwork:
    ours = detector.proposer
    theirs = RegionProposalNetwork(
        ours.anchor_generator,
        ours.head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 1000, "testing": 1000},
        post_nms_top_n={"training": 4 * most, "testing": 4 * most},
        nms_thresh=0.5,
    )
    theirs.anchor_generator = Cells(ours.anchor_generator)
    theirs.min_size = 1.0
    return theirs


def features_of(images: int) -> list[Tensor]:
    return [torch.randn(images, WIDTH, SIDE // 2**level, SIDE // 2**level) for level in range(2, 6)]


def named(features: list[Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict((str(level), one) for level, one in enumerate(features, 2))


def images_of(count: int) -> ImageList:
    return ImageList(torch.zeros(count, 3, SIDE, SIDE), [(SIDE, SIDE)] * count)


def test_boxes_found_are_torchvision_s() -> None:
    detector, features = make(), features_of(2)
    with torch.inference_mode():
        found = detector(features)
        proposals, _ = proposer_of(detector, 30).eval()(images_of(2), named(features[1:]))
        detector.judge.box_roi_pool = Cut()
        expected, _ = detector.judge.eval()(named(features), proposals, [(SIDE, SIDE)] * 2)
    for (boxes, scores), other in zip(found, expected, strict=True):
        assert 5 < len(boxes) <= 30
        large = ((other["boxes"][:, 2:] - other["boxes"][:, :2]) >= 1).all(dim=1)
        torch.testing.assert_close(boxes, other["boxes"][large])
        torch.testing.assert_close(scores, other["scores"][large])


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_torchvision_s_in_training_and_in_validation(training: bool) -> None:
    detector, features = make().train(training), features_of(2)
    objects = [
        Objects(
            boxes=torch.tensor(boxes).reshape(-1, 4),
            masks=torch.zeros(len(boxes), SIDE, SIDE, dtype=torch.bool),
            vertices=(torch.zeros(0, 2),) * len(boxes),
        )
        for boxes in BUILDINGS
    ]
    targets = [
        {"boxes": one.boxes, "labels": torch.ones(len(one.boxes), dtype=torch.int64)} for one in objects
    ]
    torch.manual_seed(5)
    ours, regions = detector.losses(features, objects)
    torch.manual_seed(5)
    proposals, theirs = proposer_of(detector, 30).train()(images_of(2), named(features[1:]), targets)
    detector.judge.box_roi_pool = Cut()
    _, judged = detector.judge.train()(named(features), proposals, [(SIDE, SIDE)] * 2, targets)
    torch.testing.assert_close(ours["objectness"], theirs["loss_objectness"])
    torch.testing.assert_close(ours["proposal"], theirs["loss_rpn_box_reg"])
    torch.testing.assert_close(ours["classification"], judged["loss_classifier"])
    torch.testing.assert_close(ours["box"], judged["loss_box_reg"])
    # the regions hold the buildings themselves, and nothing is learned where none is
    assert {tuple(box) for box in BUILDINGS[0]} <= {tuple(box) for box in regions[0].boxes.tolist()}
    assert len(regions[1].boxes) == 0


def test_no_more_boxes_are_found_than_an_image_may_have() -> None:
    detector, features = make(most=3), features_of(1)
    with torch.inference_mode():
        boxes, scores = detector(features)[0]
    assert boxes.shape == (3, 4)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
