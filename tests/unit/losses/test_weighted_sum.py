"""The sum of a preset's losses."""

import torch
from torch import Tensor

from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.losses.dice import Dice
from buildmap.losses.weighted_sum import build_loss
from buildmap.preset import Loss

Scene = tuple[Tensor, Tensor, Tensor]


def test_adds_each_loss_times_its_weight(scene: Scene) -> None:
    expected = 0.3 * CrossEntropy()(*scene) + 2 * Dice()(*scene)
    torch.testing.assert_close(build_loss(Loss(bce=0.3, dice=2))(*scene), expected)


def test_a_loss_without_weight_is_not_computed(scene: Scene) -> None:
    loss = build_loss(Loss(bce=0, dice=1))
    assert [type(part) for part in loss.parts] == [Dice]
    torch.testing.assert_close(loss(*scene), Dice()(*scene))


def test_invalid_pixels_have_no_gradient(scene: Scene) -> None:
    logits, target, valid = scene
    logits.requires_grad_()
    build_loss(Loss(bce=1, dice=1))(logits, target, valid).backward()
    assert logits.grad is not None
    assert not logits.grad[:, 0][~valid].any()
    assert logits.grad[:, 0][valid].all()
