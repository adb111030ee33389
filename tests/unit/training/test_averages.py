"""The running mean, worked by hand."""

import pytest
import torch
from torch import nn

from buildmap.training.averages import make_average


def test_the_mean_starts_at_the_first_weights_and_then_follows_slowly() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = make_average(network, 0.9)
    for weight, expected in ((5.0, 5.0), (15.0, 0.9 * 5 + 1.5), (-5.0, 0.9 * 6 - 0.5)):
        with torch.no_grad():
            network.weight.fill_(weight)
        average.update_parameters(network)
        assert average.module.weight.item() == pytest.approx(expected)


def test_running_statistics_are_copied_and_nothing_of_it_learns() -> None:
    network = nn.BatchNorm1d(2)
    average = make_average(network, 0.9)
    for _ in range(3):
        network(torch.randn(4, 2) + 10)
        average.update_parameters(network)
    assert torch.equal(average.module.running_mean, network.running_mean)
    assert network.running_mean is not None and network.running_mean.min() > 1
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert not average.module.training
