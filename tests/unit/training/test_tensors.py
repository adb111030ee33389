"""State as named tensors, and back."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from buildmap.training.tensors import optimizer_tensors, restore_optimizer, under_prefix, with_prefix


def test_a_prefix_put_before_names_is_taken_off_again() -> None:
    tensors = {"a": torch.ones(1), "a.b": torch.zeros(1)}
    both = with_prefix(tensors, "one.") | with_prefix({"a": torch.ones(2)}, "two.")
    assert both.keys() == {"one.a", "one.a.b", "two.a"}
    assert under_prefix(both, "one.") == tensors


def step(network: nn.Module, optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    network(torch.randn(4, 3)).square().mean().backward()
    optimizer.step()


def make(kind: str) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    if kind == "sgd":
        return network, SGD(network.parameters(), lr=0.1, momentum=0.9)
    if kind == "two groups":
        return network, AdamW([{"params": [network.weight]}, {"params": [network.bias]}], lr=0.1)
    return network, Adam(network.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", ["adam", "sgd", "two groups"])
def test_an_optimizer_goes_on_as_if_it_had_not_stopped_and_leaves_what_it_was_given(kind: str) -> None:
    network, optimizer = make(kind)
    for seed in range(3):
        step(network, optimizer, seed)
    kept = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    other, its_optimizer = make(kind)
    other.load_state_dict(weights)
    restore_optimizer(its_optimizer, kept)
    given = {name: tensor.clone() for name, tensor in kept.items()}
    for seed in range(3, 6):
        step(network, optimizer, seed)
        step(other, its_optimizer, seed)
    assert all(torch.equal(t, other.state_dict()[name]) for name, t in network.state_dict().items())
    assert len(kept) >= 2
    assert all(torch.equal(tensor, given[name]) for name, tensor in kept.items())


def test_without_tensors_it_is_as_new() -> None:
    network, optimizer = make("sgd")
    step(network, optimizer, 0)
    restore_optimizer(optimizer, {})
    assert optimizer_tensors(optimizer) == {}
