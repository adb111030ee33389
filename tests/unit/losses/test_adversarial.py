"""Both sides of the vanilla adversarial game, by Goodfellow's logarithms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from buildmap.losses.adversarial import discriminator_loss, generator_loss


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits of real and of made pictures, and valid pixels."""
    generator = torch.Generator().manual_seed(seed)
    real, made = (3 * torch.randn(2, 1, 4, 5, generator=generator) for _ in range(2))
    valid = torch.rand(2, 4, 5, generator=generator) < 0.7
    valid[0, 0, 0] = True
    return real, made, valid


def judged(logits: Tensor, valid: Tensor) -> list[float]:
    """D of every valid pixel."""
    return [1 / (1 + math.exp(-logit)) for logit in logits[:, 0][valid].tolist()]


@given(seed=st.integers(0, 2**31))
def test_the_discriminator_minimizes_the_negative_of_goodfellow_s_value(seed: int) -> None:
    real, made, valid = scene(seed)
    right, wrong = judged(real, valid), judged(made, valid)
    expected = -sum(map(math.log, right)) / len(right) - sum(math.log(1 - d) for d in wrong) / len(wrong)
    assert discriminator_loss(real, made, valid).item() == pytest.approx(expected, rel=1e-4)


@given(seed=st.integers(0, 2**31))
def test_the_generator_minimizes_minus_log_d(seed: int) -> None:
    _, made, valid = scene(seed)
    expected = [-math.log(d) for d in judged(made, valid)]
    assert generator_loss(made, valid).item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_a_discriminator_that_cannot_tell_loses_twice_log_two() -> None:
    valid = torch.ones(1, 3, 3, dtype=torch.bool)
    zeros = torch.zeros(1, 1, 3, 3)
    assert discriminator_loss(zeros, zeros, valid).item() == pytest.approx(2 * math.log(2))


def test_the_players_pull_the_logits_of_a_made_picture_apart() -> None:
    real, made, valid = scene()
    real.requires_grad_()
    made.requires_grad_()
    (of_real, of_made) = torch.autograd.grad(discriminator_loss(real, made, valid), (real, made))
    (of_generator,) = torch.autograd.grad(generator_loss(made, valid), made)
    assert (of_real[:, 0][valid] < 0).all()
    assert (of_made[:, 0][valid] > 0).all()
    assert (of_generator[:, 0][valid] < 0).all()


def test_a_generator_that_fails_surely_still_has_a_gradient() -> None:
    made = torch.full((1, 1, 2, 2), -80.0, requires_grad=True)
    loss = generator_loss(made, torch.ones(1, 2, 2, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, made)
    torch.testing.assert_close(gradient, torch.full_like(gradient, -0.25))


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_what_stands_in_invalid_pixels_changes_neither_value_nor_gradient(junk: float) -> None:
    real, made, valid = scene()
    expected = discriminator_loss(real, made, valid)
    real, made = (torch.where(valid[:, None], one, junk).requires_grad_() for one in (real, made))
    loss = discriminator_loss(real, made, valid)
    assert torch.equal(loss, expected)
    for gradient in torch.autograd.grad(loss, (real, made)):
        assert not gradient[:, 0][~valid].any()
        assert gradient[:, 0][valid].all()


def test_no_valid_pixel_is_no_loss() -> None:
    real, made, valid = scene()
    assert discriminator_loss(real, made, torch.zeros_like(valid)).item() == 0
    assert generator_loss(made, torch.zeros_like(valid)).item() == 0


@pytest.mark.parametrize("logit", [-300.0, 300.0])
def test_half_precision_is_finite_where_the_discriminator_is_sure(logit: float) -> None:
    logits = torch.full((1, 1, 300, 300), logit, dtype=torch.float16)
    valid = torch.ones(1, 300, 300, dtype=torch.bool)
    loss = discriminator_loss(logits, logits, valid)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(300)
