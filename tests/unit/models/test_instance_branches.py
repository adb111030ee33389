"""The two branches: what each sees, and what each learns from."""

import pytest
import torch
from torch import Tensor

from buildmap.models.instance_branches import Branches
from buildmap.models.instance_targets import Regions, heatmap_targets, mask_targets
from buildmap.models.pyramid import levels_by_size
from buildmap.models.vertex_loss import vertex_loss
from buildmap.preset import Instances
from tests.models.buildings import draw

WIDTH = 8
SIDE = 64


def make(parts: str, **changes: float) -> Branches:
    torch.manual_seed(0)
    instances = Instances(parts=parts, roi_px=6, **changes)  # type: ignore[arg-type]
    return Branches(instances, WIDTH, levels=levels_by_size)


def features_of(images: int) -> list[Tensor]:
    return [torch.randn(images, WIDTH, SIDE // 2**level, SIDE // 2**level) for level in range(2, 6)]


BOXES = [
    torch.tensor([[4.0, 8.0, 40.0, 30.0], [20.0, 40.0, 50.0, 60.0]]),
    torch.tensor([[1.0, 2.0, 9.0, 12.0]]),
]


@pytest.mark.parametrize("parts", ["mask", "keypoint", "mask+keypoint"])
def test_each_part_gives_its_maps_twice_as_fine_as_a_region(parts: str) -> None:
    masks, heatmaps = make(parts)(features_of(2), BOXES)
    assert (masks is not None) == ("mask" in parts)
    assert (heatmaps is not None) == ("keypoint" in parts)
    assert all(maps is None or maps.shape == (3, 12, 12) for maps in (masks, heatmaps))


def test_vertices_are_sought_with_the_mask_at_hand() -> None:
    branches, features = make("mask+keypoint"), features_of(2)
    assert branches.mask is not None and branches.keypoint is not None
    seen: list[Tensor] = []
    branches.keypoint.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    masks, heatmaps = branches(features, BOXES)
    assert masks is not None and heatmaps is not None
    assert seen[0].shape == (3, WIDTH + 1, 6, 6)
    quarters = masks.sigmoid().reshape(3, 6, 2, 6, 2)
    torch.testing.assert_close(seen[0][:, -1], quarters.mean(dim=(2, 4)))
    heatmaps.sum().backward()
    assert branches.mask.last.weight.grad is not None and branches.mask.last.weight.grad.any()


def test_losses_are_those_of_the_targets_by_their_weights() -> None:
    objects = [draw([(4, 8, 40, 30), (20, 40, 50, 60)], SIDE, SIDE)[1], draw([(2, 2, 9, 12)], SIDE, SIDE)[1]]
    regions = [
        Regions(boxes=BOXES[0], matched=torch.tensor([0, 1])),
        Regions(boxes=BOXES[1], matched=torch.tensor([0])),
    ]
    branches, features = make("mask+keypoint", mask_weight=0.3, keypoint_weight=0.7), features_of(2)
    losses = branches.losses(features, regions, objects)
    masks, heatmaps = branches(features, BOXES)
    assert masks is not None and heatmaps is not None
    pairs = list(zip(regions, objects, strict=True))
    wanted = torch.cat([mask_targets(*pair, 12) for pair in pairs])
    probability = masks.sigmoid()
    entropy = -(wanted * probability.log() + (1 - wanted) * (1 - probability).log())
    torch.testing.assert_close(losses["mask"], 0.3 * entropy.mean())
    drawn = torch.cat([heatmap_targets(*pair, 12) for pair in pairs])
    torch.testing.assert_close(losses["keypoint"], 0.7 * vertex_loss(heatmaps, drawn))
    assert list(losses) == ["mask", "keypoint"]


def test_without_a_region_losses_are_zero_and_reach_every_parameter() -> None:
    nothing = Regions(boxes=torch.zeros(0, 4), matched=torch.zeros(0, dtype=torch.int64))
    branches = make("mask+keypoint")
    losses = branches.losses(features_of(2), [nothing] * 2, [draw([], SIDE, SIDE)[1]] * 2)
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in branches.parameters())
