"""Equation 1, written out in double precision."""

import numpy as np
import pytest
import torch

from buildmap.models.vertex_loss import vertex_loss


def written_out(probability: np.ndarray, target: np.ndarray) -> float:
    total = 0.0
    for found, truth in zip(probability.ravel(), target.ravel(), strict=True):
        if truth == 1:
            total += (1 - found) ** 2 * np.log(found)
        else:
            total += (1 - truth) ** 4 * found**2 * np.log(1 - found)
    return -total / len(probability)


def test_it_is_equation_1() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4, 6, 7))
    target = rng.uniform(0, 0.99, logits.shape)
    target[rng.uniform(size=logits.shape) < 0.1] = 1
    loss = vertex_loss(torch.from_numpy(logits), torch.from_numpy(target).float())
    assert loss.item() == pytest.approx(written_out(1 / (1 + np.exp(-logits)), target), rel=1e-5)


def test_a_miss_near_a_vertex_costs_less_than_one_far_away() -> None:
    logits = torch.full((1, 1, 1), 2.0)
    near, far = (vertex_loss(logits, torch.full((1, 1, 1), truth)).item() for truth in (0.8, 0.0))
    assert near == pytest.approx(0.2**4 * far, rel=1e-4)


@pytest.mark.parametrize("logit", [-1e4, -50.0, 50.0, 1e4])
@pytest.mark.parametrize("truth", [0.0, 0.5, 1.0])
def test_sure_logits_leave_loss_and_gradient_finite(logit: float, truth: float) -> None:
    logits = torch.full((1, 2, 2), logit, requires_grad=True)
    loss = vertex_loss(logits, torch.full((1, 2, 2), truth))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_it_is_computed_in_single_precision_from_half() -> None:
    logits = torch.tensor([[[-20.0, 15.0]]], dtype=torch.float16)
    target = torch.tensor([[[1.0, 0.25]]])
    probability = 1 / (1 + np.exp(-logits.double().numpy()))
    assert vertex_loss(logits, target).item() == pytest.approx(
        written_out(probability, target.numpy()), rel=1e-4
    )


def test_without_a_region_it_is_zero_and_still_has_a_gradient() -> None:
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss = vertex_loss(logits, torch.zeros(0, 4, 4))
    loss.backward()
    assert loss.item() == 0
