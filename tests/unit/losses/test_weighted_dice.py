"""Which class the weighted Dice loss cares for."""

import pytest
import torch

from buildmap.losses.dice import Dice
from buildmap.losses.weighted_dice import WeightedDice

ROWS = COLS = 20
SURE = 100.0


def town() -> tuple[torch.Tensor, torch.Tensor]:
    """Give a target with 5 % building, and valid."""
    target = torch.zeros(1, ROWS, COLS)
    target[0, :4, :5] = 1
    return target, torch.ones(1, ROWS, COLS, dtype=torch.bool)


def test_mapping_nothing_costs_nine_tenths_when_buildings_are_rare() -> None:
    target, valid = town()
    nothing = torch.full((1, 1, ROWS, COLS), -SURE)
    background_dice = 2 * 380 / (400 + 380)
    expected = 0.9 * 1 + 0.1 * (1 - background_dice)
    assert WeightedDice(0.1)(nothing, target, valid).item() == pytest.approx(expected, rel=1e-5)


def test_a_prior_of_one_half_is_the_mean_of_both_classes() -> None:
    target, valid = town()
    logits = torch.randn(1, 1, ROWS, COLS, generator=torch.Generator().manual_seed(0))
    building, background = Dice()(logits, target, valid), Dice()(-logits, 1 - target, valid)
    torch.testing.assert_close(WeightedDice(0.5)(logits, target, valid), (building + background) / 2)


def test_classes_and_prior_may_change_places() -> None:
    target, valid = town()
    logits = torch.randn(1, 1, ROWS, COLS, generator=torch.Generator().manual_seed(1))
    one, other = WeightedDice(0.2)(logits, target, valid), WeightedDice(0.8)(-logits, 1 - target, valid)
    torch.testing.assert_close(one, other)


def test_the_rarer_building_is_said_to_be_the_more_it_counts() -> None:
    target, valid = town()
    nothing = torch.full((1, 1, ROWS, COLS), -SURE)
    losses = [WeightedDice(prior)(nothing, target, valid).item() for prior in (0.5, 0.3, 0.1, 0.01)]
    assert losses == sorted(losses)
