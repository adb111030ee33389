"""What the keypoint paper says of its networks, sections 2.1 and 2.2 and table 1: held against ours."""

import math
from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor

from buildmap.models import build_instances
from buildmap.models.boxes import boxes_of_cells
from buildmap.models.mask_rcnn import TwoStageDetector
from buildmap.models.pyramid import COARSEST_CUT, FINEST, build_pyramid
from buildmap.models.region_network import RegionNetwork
from buildmap.preset import Instances, Model
from tests.models.buildings import draw, small_model

PAPER = Instances()
WIDTH = 256
ENCODER = (256, 512, 1024, 2048)
"""Channels of ResNet-101 from level 2 on."""


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> int:
    return channels_in * channels_out * kernel**2 + channels_out


def linear(numbers_in: int, numbers_out: int) -> int:
    return (numbers_in + 1) * numbers_out


def branch(channels: int) -> int:
    return conv(channels, WIDTH) + 3 * conv(WIDTH, WIDTH) + conv(WIDTH, WIDTH, 2) + conv(WIDTH, 1, 1)


def branches(parts: str) -> int:
    return {
        "mask": branch(WIDTH),
        "keypoint": branch(WIDTH),
        "mask+keypoint": branch(WIDTH) + branch(WIDTH + 1),
    }[parts]


def counted(name: str, parts: str) -> int:
    with torch.device("meta"):
        model = Model(name=name, instances=replace(PAPER, parts=parts))  # type: ignore[arg-type]
        return sum(parameter.numel() for parameter in build_instances(model, 3).parameters())


@pytest.mark.parametrize("parts", ["mask", "keypoint", "mask+keypoint"])
def test_on_resnet_101_the_networks_have_the_parameters_of_their_parts(parts: str) -> None:
    with torch.device("meta"):
        resnet = sum(p.numel() for p in timm.create_model("resnet101", num_classes=0).parameters())
    pyramid = resnet + sum(conv(c, WIDTH, 1) + conv(WIDTH, WIDTH) for c in ENCODER) + 2 * conv(WIDTH, WIDTH)
    proposer = conv(WIDTH, WIDTH) + conv(WIDTH, 3, 1) + conv(WIDTH, 12, 1)
    judge = linear(WIDTH * 49, 1024) + linear(1024, 1024) + linear(1024, 2) + linear(1024, 8)
    assert counted("mask-rcnn", parts) == pyramid + proposer + judge + branches(parts)
    tower = 4 * (conv(WIDTH, WIDTH) + 2 * WIDTH)
    points = 2 * tower + conv(WIDTH, 1) + conv(WIDTH, 4) + conv(WIDTH, 1)
    attention = conv(2, 1) if "mask" in parts else 0
    assert counted("fcos", parts) == pyramid + points + branches(parts) + attention


def test_boxes_begin_with_the_strides_shapes_and_scales_of_table_1() -> None:
    detector = TwoStageDetector(PAPER, 16)
    features = [torch.zeros(1, 1, 512 // stride, 512 // stride) for stride in (8, 16, 32, 64, 128)]
    levels = boxes_of_cells(detector.proposer.anchor_generator, features)
    for boxes, stride, scale in zip(levels, (8, 16, 32, 64, 128), (32, 64, 128, 256, 512), strict=True):
        assert len(boxes) == 3 * (512 // stride) ** 2
        middles = (boxes[:, 0] + boxes[:, 2]).unique() / 2
        assert middles.diff().unique().tolist() == [stride]
        sides = boxes[:3, 2:] - boxes[:3, :2]
        torch.testing.assert_close(
            sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]), rtol=0.06, atol=0
        )
        torch.testing.assert_close(
            sides.prod(dim=1).sqrt(), torch.full((3,), float(scale)), rtol=0.06, atol=0
        )


def test_regions_are_cut_out_of_the_features_of_table_1() -> None:
    pyramid, _ = build_pyramid(small_model("mask-rcnn"), 3, 5)
    with torch.inference_mode():
        features = pyramid.eval()(torch.zeros(1, 3, 512, 512))
    cut = features[: COARSEST_CUT - FINEST + 1]
    assert [tuple(one.shape[2:]) for one in cut] == [(128, 128), (64, 64), (32, 32)]


def test_regions_have_28_cells_and_maps_twice_as_many() -> None:
    network = build_instances(small_model("mask-rcnn", roi_px=PAPER.roi_px, score_min=0.0), 3)
    assert isinstance(network, RegionNetwork)
    seen: list[Tensor] = []
    network.branches.get_submodule("keypoint").register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    with torch.inference_mode():
        found = network.eval().detect(torch.randn(1, 3, 64, 64))[0]
    assert seen[0].shape[2:] == (28, 28)
    assert found.masks is not None and found.heatmaps is not None
    assert found.masks.shape[1:] == found.heatmaps.shape[1:] == (56, 56)


@pytest.mark.parametrize("name", ["mask-rcnn", "fcos"])
def test_the_sum_of_losses_weighs_masks_a_fifth_and_vertices_fully(name: str) -> None:
    """Equation 2; the detector's own losses have no weight."""
    assert (PAPER.mask_weight, PAPER.keypoint_weight) == (0.2, 1.0)
    image, objects = draw([(10, 12, 50, 40)], 64, 64)

    def losses(**weights: float) -> dict[str, float]:
        torch.manual_seed(0)
        network = build_instances(small_model(name, **weights), 3)
        torch.manual_seed(1)
        return {key: loss.item() for key, loss in network.losses(image[None], [objects]).items()}

    paper, even = losses(), losses(mask_weight=1.0, keypoint_weight=0.5)
    ratios = {key: even[key] / paper[key] for key in paper}
    expected = dict.fromkeys(paper, 1.0) | {"mask": 5.0, "keypoint": 0.5}
    assert ratios == pytest.approx(expected, rel=1e-5)
    assert math.fsum(paper.values()) > 0
