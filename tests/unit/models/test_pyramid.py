"""Levels against their equations, and regions against features that say where they are."""

import math

import pytest
import torch
from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models.pyramid import build_pyramid, cut_out, image_px, levels_by_share, levels_by_size
from buildmap.preset import Model
from tests.models.small_encoders import RESNET

SMALL = Model(name="mask-rcnn", encoder=RESNET, width=16)


def squares(*sides: float) -> Tensor:
    return torch.tensor([[3.0, 5.0, 3 + side, 5 + side] for side in sides])


def test_levels_by_size_are_equation_1() -> None:
    sides = [10.0, 55.0, 57.0, 111.0, 113.0, 223.0, 225.0, 500.0]
    expected = [min(max(math.floor(4 + math.log2(side / 224)), 2), 4) for side in sides]
    assert levels_by_size(squares(*sides), 0).tolist() == expected == [2, 2, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("area", [512 * 512, 256 * 1024, 1024 * 1024])
def test_levels_by_share_are_equation_2(area: int) -> None:
    sides = [5.0, 100.0, 200.0, 255.0, 257.0, 361.0, 363.0, 500.0]
    expected = [min(max(math.ceil(4 - math.log2(area / side**2)), 2), 4) for side in sides]
    assert levels_by_share(squares(*sides), area).tolist() == expected
    assert len(set(expected)) == (3 if area < 1024 * 1024 else 1)


def places(side: int, level: int) -> Tensor:
    """Features that say where in the image the middle of each is: x, y, the level, and which image."""
    count = side // 2**level
    middle = (torch.arange(count) + 0.5) * 2**level
    x, y = middle.expand(count, count), middle[:, None].expand(count, count)
    constant = torch.full((count, count), float(level))
    return torch.stack([torch.stack([x, y, constant, torch.full_like(x, at)]) for at in (0.0, 1.0)])


def test_what_is_cut_out_is_where_its_box_says() -> None:
    side = 128
    features = [places(side, level) for level in range(2, 6)]
    of_images = [
        torch.tensor([[20.0, 24.0, 76.0, 66.5], [30.3, 31.7, 51.3, 95.7]]),
        torch.tensor([[22.0, 30.0, 99.0, 100.0]]),
    ]
    levels = torch.tensor([2, 4, 3])
    cut = cut_out(features, of_images, levels, 7)
    assert cut.shape == (3, 4, 7, 7)
    for found, (left, top, right, bottom), level, image in zip(
        cut, torch.cat(of_images).tolist(), levels.tolist(), (0, 0, 1), strict=True
    ):
        middle = (torch.arange(7) + 0.5) / 7
        torch.testing.assert_close(found[0], (left + middle * (right - left)).expand(7, 7))
        torch.testing.assert_close(found[1], (top + middle * (bottom - top))[:, None].expand(7, 7))
        assert found[2].unique().tolist() == [level]
        assert found[3].unique().tolist() == [image]


def test_nothing_is_cut_out_of_no_box() -> None:
    features = [places(64, level) for level in range(2, 6)]
    nothing = torch.zeros(0, dtype=torch.int64)
    assert cut_out(features, [torch.zeros(0, 4)] * 2, nothing, 5).shape == (0, 4, 5, 5)


@pytest.mark.parametrize(("sought", "coarsest"), [(3, 5), (5, 7)])
def test_every_level_is_half_as_fine_as_the_one_before(sought: int, coarsest: int) -> None:
    pyramid, stride = build_pyramid(SMALL, 4, sought)
    features = pyramid.eval()(torch.zeros(2, 4, 128, 256))
    assert stride == 32
    assert [one.shape for one in features] == [
        (2, 16, 128 // 2**level, 256 // 2**level) for level in range(2, coarsest + 1)
    ]
    assert image_px(features) == (128, 256)


def test_pretrained_statistics_stay_and_others_follow_the_images() -> None:
    def changed(keep: bool) -> list[bool]:
        pyramid, _ = build_pyramid(SMALL, 3, 3)
        pyramid._keep_statistics = keep
        norms = [module for module in pyramid.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
        pyramid.train()(torch.randn(2, 3, 64, 64))
        after = [norm.running_mean for norm in norms if norm.running_mean is not None]
        assert pyramid.training and pyramid.joined.training
        return [not torch.equal(*pair) for pair in zip(before, after, strict=True)]

    assert not any(changed(keep=True))
    assert all(changed(keep=False))


@pytest.mark.parametrize(
    ("model", "sought", "message"),
    [
        (Model(name="fcos", encoder=RESNET, width=20), 5, "width 20"),
        (SMALL, 4, "anchor_px for 4 levels"),
        (Model(name="fcos", encoder="no-such"), 5, "no encoder 'no-such'"),
    ],
)
def test_what_a_pyramid_cannot_be_is_refused(model: Model, sought: int, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        build_pyramid(model, 3, sought)
