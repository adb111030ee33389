"""The sum of a preset's losses."""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from buildmap.losses.boundary_alignment import BoundaryAlignment
from buildmap.losses.cross_entropy import CrossEntropy
from buildmap.losses.dice import Dice
from buildmap.losses.weighted_sum import build_loss
from buildmap.preset import LOSSES, Loss
from tests.unit.losses import oracles

Scene = tuple[Tensor, Tensor, Tensor]

ORACLES: dict[str, Callable[[Tensor, Tensor, Tensor], float]] = {
    "bce": oracles.cross_entropy,
    "wce": oracles.weighted_cross_entropy,
    "dice": oracles.dice,
    "nr_dice": oracles.noise_robust_dice,
    "ell": oracles.exponential_logarithmic,
    "wdice": oracles.weighted_dice,
    "lace": oracles.pairwise_logit_adjusted,
    "boundary_alignment": oracles.boundary_alignment,
    "boundary_distance": oracles.boundary_distance,
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_named_loss_is_the_sum_of_its_formulas(name: str, scene: Scene) -> None:
    expected = sum(getattr(LOSSES[name], part) * oracle(*scene) for part, oracle in ORACLES.items())
    assert build_loss(LOSSES[name])(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_every_weight_of_a_preset_reaches_its_loss(scene: Scene) -> None:
    weights = {part: 0.25 + 0.5 * index for index, part in enumerate(ORACLES)}
    expected = sum(weight * ORACLES[part](*scene) for part, weight in weights.items())
    assert build_loss(Loss(**weights))(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_every_number_that_shapes_a_loss_reaches_it(scene: Scene) -> None:
    everything = Loss(**dict.fromkeys(ORACLES, 1.0))
    changed = {
        "building_prior": 0.3,
        "temperature": 0.5,
        "noise_exponent": 1.2,
        "boundary_px": 5,
        "tolerance_px": 3,
    }
    assert {field.name for field in fields(Loss)} == {*ORACLES, *changed, "normalized"}
    losses = [build_loss(replace(everything, **{key: value})) for key, value in changed.items()]
    values = [loss(*scene).item() for loss in (build_loss(everything), *losses)]
    assert len(set(values)) == len(values)
    expected = (
        oracles.cross_entropy(*scene)
        + oracles.weighted_cross_entropy(*scene, 0.3)
        + oracles.dice(*scene)
        + oracles.noise_robust_dice(*scene, 1.2)
        + oracles.exponential_logarithmic(*scene)
        + oracles.weighted_dice(*scene, 0.7)
        + oracles.pairwise_logit_adjusted(*scene, 0.3, 0.5)
        + oracles.boundary_alignment(*scene, 5, 3)
        + oracles.boundary_distance(*scene)
    )
    assert build_loss(replace(everything, **changed))(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_normalized_losses_are_shares_of_what_they_are_where_nothing_is_known(scene: Scene) -> None:
    logits, target, valid = scene
    weights = {"bce": 0.5, "dice": 0.4, "boundary_distance": 0.1}
    expected = sum(
        weight * ORACLES[part](*scene) / ORACLES[part](torch.zeros_like(logits), target, valid)
        for part, weight in weights.items()
    )
    loss = build_loss(Loss(normalized=True, **weights))
    assert loss(*scene).item() == pytest.approx(expected, rel=1e-5)
    assert loss(torch.zeros_like(logits), target, valid).item() == pytest.approx(1)


def test_a_normalized_loss_that_has_nothing_to_judge_is_left_out(scene: Scene) -> None:
    logits, target, valid = scene
    empty = logits.clone().requires_grad_(), torch.zeros_like(target), valid
    loss = build_loss(Loss(normalized=True, bce=1, boundary_distance=1))(*empty)
    loss.backward()
    assert loss.item() == pytest.approx(oracles.cross_entropy(logits, *empty[1:]) / math.log(2), rel=1e-5)
    assert empty[0].grad is not None and empty[0].grad.isfinite().all() and empty[0].grad.any()


def test_a_loss_without_weight_is_not_computed(scene: Scene) -> None:
    loss = build_loss(Loss(bce=0, dice=1, boundary_alignment=0.5))
    assert [type(part) for part in loss.parts] == [Dice, BoundaryAlignment]
    torch.testing.assert_close(loss(*scene), Dice()(*scene) + BoundaryAlignment(3, 5)(*scene) / 2)


def test_adds_the_gradients_as_it_adds_the_losses(scene: Scene) -> None:
    logits, target, valid = scene
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    build_loss(Loss(bce=0.3, dice=2))(one, target, valid).backward()
    (0.3 * CrossEntropy()(other, target, valid) + 2 * Dice()(other, target, valid)).backward()
    assert one.grad is not None and other.grad is not None
    torch.testing.assert_close(one.grad, other.grad)
    assert not one.grad[:, 0][~valid].any()
    assert one.grad[:, 0][valid].all()
