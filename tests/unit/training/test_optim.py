"""Learning rates against torch's own schedules, and what the optimizers do to a parameter."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    PolynomialLR,
    StepLR,
)

from buildmap.preset import Training
from buildmap.training.optim import learning_rate, make_optimizer
from tests.unit.training.fakes import PRESET

TRAINING = replace(
    PRESET.training,
    epochs=10,
    steps_per_epoch=10,
    learning_rate=0.5,
    power=0.9,
    decay_epochs=3,
    decay_factor=0.4,
)
SCHEDULES = ("polynomial", "steps", "cosine", "constant")


def torch_s(name: str, optimizer: SGD) -> LRScheduler:
    match name:
        case "polynomial":
            return PolynomialLR(optimizer, total_iters=100, power=0.9)
        case "steps":
            return StepLR(optimizer, step_size=30, gamma=0.4)
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=100)
        case _:
            return ConstantLR(optimizer, factor=1.0)


def torch_s_rates(name: str, warmup_steps: int) -> list[float]:
    """Step torch's schedule, and its warm-up, a hundred times."""
    optimizers = [SGD(nn.Linear(1, 1).parameters(), lr=rate) for rate in (0.5, 1.0)]
    schedules = [torch_s(name, optimizers[0])]
    if warmup_steps > 1:
        start = 1 / warmup_steps
        schedules.append(LinearLR(optimizers[1], start_factor=start, total_iters=warmup_steps - 1))
    rates = []
    for _ in range(100):
        rates.append(optimizers[0].param_groups[0]["lr"] * optimizers[1].param_groups[0]["lr"])
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
def test_the_rates_are_those_of_torch_s_own_schedules(name: Any, warmup_steps: int) -> None:
    training = replace(TRAINING, schedule=name, warmup_steps=warmup_steps)
    rates = [learning_rate(step, training) for step in range(100)]
    assert rates == pytest.approx(torch_s_rates(name, warmup_steps), rel=1e-6, abs=1e-9)


@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 40),
    per_epoch=st.integers(1, 40),
    warmup_steps=st.integers(0, 50),
)
def test_rates_stay_positive_rise_in_the_warm_up_only_and_never_above_the_first(
    schedule: Any, epochs: int, per_epoch: int, warmup_steps: int
) -> None:
    training = replace(
        TRAINING, schedule=schedule, epochs=epochs, steps_per_epoch=per_epoch, warmup_steps=warmup_steps
    )
    rates = [learning_rate(step, training) for step in range(epochs * per_epoch)]
    assert all(0 < rate <= 0.5 * (1 + 1e-12) for rate in rates)
    assert all(later <= earlier for earlier, later in pairwise(rates[max(warmup_steps - 1, 0) :]))


def test_the_polynomial_and_the_cosine_end_at_nothing() -> None:
    assert learning_rate(100, TRAINING) == 0
    assert learning_rate(100, replace(TRAINING, schedule="cosine")) == 0


def stepped(training: Training, network: nn.Module, gradient: float) -> dict[str, float]:
    """Give each parameter's change after one step on the same gradient everywhere."""
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = make_optimizer(network, training)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()
    return {n: (p.detach() - before[n]).flatten()[0].item() for n, p in network.named_parameters()}


def ones() -> nn.Module:
    """Give a convolution with a bias and a normalization, all parameters 1."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    return network


def test_adam_s_first_step_is_the_learning_rate_against_the_gradient() -> None:
    assert stepped(TRAINING, ones(), 3.0) == pytest.approx(
        dict.fromkeys(dict(ones().named_parameters()), -0.5)
    )


def test_sgd_s_first_step_is_the_gradient_and_its_decay() -> None:
    training = replace(TRAINING, optimizer="sgd", momentum=0.9, weight_decay=0.1)
    changes = stepped(training, ones(), 2.0)
    assert list(changes.values()) == pytest.approx([-0.5 * (2.0 + 0.1)] * 4)


def test_momentum_keeps_its_share_of_the_last_step() -> None:
    network = nn.Linear(1, 1, bias=False)
    before = network.weight.item()
    optimizer = make_optimizer(network, replace(TRAINING, optimizer="sgd", momentum=0.9))
    for gradient in (1.0, 1.0):
        network.weight.grad = torch.full_like(network.weight, gradient)
        optimizer.step()
    assert network.weight.item() - before == pytest.approx(-0.5 * (1 + 1.9))


def test_adamw_s_decay_pulls_at_weights_and_leaves_biases_and_normalizations_free() -> None:
    changes = stepped(replace(TRAINING, optimizer="adamw", weight_decay=0.1), ones(), 0.0)
    assert changes == pytest.approx({"0.weight": -0.5 * 0.1, "0.bias": 0, "1.weight": 0, "1.bias": 0})


def test_adamw_takes_networks_without_a_bias() -> None:
    changes = stepped(replace(TRAINING, optimizer="adamw"), nn.Conv2d(1, 1, 1, bias=False), 1.0)
    assert changes == pytest.approx({"weight": -0.5})
