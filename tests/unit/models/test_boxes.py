"""Which boxes stay, against torchvision's choice; and where the first ones are."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads

from buildmap.models.boxes import best, boxes_of_cells, keep_best, per_area

IMAGE_PX = (96, 128)


def some_boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([120.0, 90.0]) - 5
    return torch.cat([corner, corner + torch.rand(count, 2) * 40], dim=1)


def test_the_boxes_that_stay_are_torchvision_s() -> None:
    torch.manual_seed(0)
    boxes, logits = some_boxes(400), torch.randn(400, 2)
    heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, (1, 1, 1, 1), 0.3, 0.4, 1000)
    codes = torch.zeros(400, 8)  # every box as it is
    theirs, scores, _ = heads.postprocess_detections(logits, codes, [boxes], [IMAGE_PX])
    large = ((theirs[0][:, 2:] - theirs[0][:, :2]) >= 1).all(dim=1)  # theirs may be a hundredth of a pixel
    kept = keep_best(boxes, logits.softmax(dim=1)[:, 1], IMAGE_PX, score_min=0.3, nms_iou=0.4)
    assert 20 < len(kept[0]) < 300
    torch.testing.assert_close(kept[0], theirs[0][large])
    torch.testing.assert_close(kept[1], scores[0][large])


def test_of_no_box_none_stays() -> None:
    kept = keep_best(torch.zeros(0, 4), torch.zeros(0), IMAGE_PX, score_min=0.3, nms_iou=0.4)
    assert [one.shape for one in kept] == [(0, 4), (0,)]


def test_a_box_less_than_a_pixel_wide_within_the_image_is_dropped() -> None:
    boxes = torch.tensor([[-9.0, 4.0, 0.9, 20.0], [10.0, 4.0, 11.0, 20.0], [20.0, 95.5, 40.0, 120.0]])
    kept, _ = keep_best(boxes, torch.ones(3), IMAGE_PX, score_min=0.0, nms_iou=0.5)
    assert kept.tolist() == [[10.0, 4.0, 11.0, 20.0]]


def test_the_best_are_the_highest_first_and_no_more_than_there_are() -> None:
    values = torch.tensor([0.3, 0.9, 0.1, 0.5])
    assert best(values, 2).tolist() == [1, 3]
    assert best(values, 9).tolist() == [1, 3, 0, 2]


def test_cells_are_torchvision_s_moved_to_the_middle_and_mirror_themselves() -> None:
    generator = AnchorGenerator(((16,), (32,)), ((0.5, 1.0, 2.0),) * 2)
    features = [torch.zeros(2, 5, 12, 16), torch.zeros(2, 5, 6, 8)]
    ours = boxes_of_cells(generator, features)
    theirs = generator(ImageList(torch.zeros(1, 3, *IMAGE_PX), [IMAGE_PX]), features)[0]
    half = torch.cat([torch.full((12 * 16 * 3, 1), 4.0), torch.full((6 * 8 * 3, 1), 8.0)])
    torch.testing.assert_close(torch.cat(ours), theirs + half)
    mirrored = torch.cat(ours)[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor(
        [128.0, 0, 128, 0]
    )
    assert {tuple(box) for box in mirrored.tolist()} == {tuple(box) for box in torch.cat(ours).tolist()}


@pytest.mark.parametrize(
    ("size", "allowed"), [((512, 512), 100), ((64, 64), 100), ((1024, 1024), 400), ((512, 768), 150)]
)
def test_a_larger_image_may_have_as_many_more(size: tuple[int, int], allowed: int) -> None:
    assert per_area(100, size) == allowed
