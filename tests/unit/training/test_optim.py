"""The learning rate, and Adam's first step."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from buildmap.training.optim import learning_rate, make_optimizer
from tests.unit.training.fakes import PRESET

TRAINING = replace(PRESET.training, epochs=10, steps_per_epoch=10, learning_rate=0.5, power=0.9)


def test_the_rate_falls_from_the_first_to_nearly_nothing() -> None:
    rates = [learning_rate(step, TRAINING) for step in range(100)]
    assert rates[0] == 0.5
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert rates[-1] == pytest.approx(0.5 * 0.01**0.9)
    assert learning_rate(100, TRAINING) == 0


def test_power_one_falls_in_a_straight_line() -> None:
    straight = replace(TRAINING, power=1.0)
    assert [learning_rate(step, straight) for step in (0, 25, 50)] == pytest.approx([0.5, 0.375, 0.25])


def test_the_rates_are_torch_s_own_polynomial_schedule() -> None:
    optimizer = make_optimizer(nn.Linear(1, 1), TRAINING)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=100, power=0.9)
    for step in range(20):
        assert learning_rate(step, TRAINING) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_adam_s_first_step_is_the_learning_rate_against_the_gradient() -> None:
    parameter = nn.Linear(1, 1, bias=False)
    before = parameter.weight.item()
    optimizer = make_optimizer(parameter, TRAINING)
    (3 * parameter.weight).sum().backward()
    optimizer.step()
    assert parameter.weight.item() == pytest.approx(before - 0.5, abs=1e-5)
