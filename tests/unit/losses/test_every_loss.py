"""What holds for every loss: formula, gradient, invalid pixels, half precision, one class alone."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from buildmap.losses.boundary_alignment import BoundaryAlignment
from buildmap.losses.cross_entropy import CrossEntropy, WeightedCrossEntropy
from buildmap.losses.dice import Dice
from buildmap.losses.exponential_logarithmic import ExponentialLogarithmic
from buildmap.losses.logit_adjusted import LogitAdjustedCrossEntropy
from buildmap.losses.noise_robust_dice import NoiseRobustDice
from buildmap.losses.weighted_dice import WeightedDice
from tests.unit.losses import oracles

Scene = tuple[Tensor, Tensor, Tensor]
Oracle = Callable[[Tensor, Tensor, Tensor], float]

LOSSES: dict[str, tuple[nn.Module, Oracle]] = {
    "bce": (CrossEntropy(), oracles.cross_entropy),
    "wce": (WeightedCrossEntropy(0.1), oracles.weighted_cross_entropy),
    "dice": (Dice(), oracles.dice),
    "nr_dice": (NoiseRobustDice(1.5), oracles.noise_robust_dice),
    "ell": (ExponentialLogarithmic(), oracles.exponential_logarithmic),
    "wdice": (WeightedDice(0.1), oracles.weighted_dice),
    "lace": (LogitAdjustedCrossEntropy(0.1, 1.0), oracles.pairwise_logit_adjusted),
    "boundary_alignment": (BoundaryAlignment(3, 5), oracles.boundary_alignment),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
half_precision = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def draw(seed: int, shape: tuple[int, int, int], scale: float, valid_share: float) -> Scene:
    """Make a scene that has both classes in its valid pixels."""
    generator = torch.Generator().manual_seed(seed)
    batch, rows, cols = shape
    logits = scale * torch.randn(batch, 1, rows, cols, generator=generator)
    target = (torch.rand(shape, generator=generator) < 0.4).float()
    valid = torch.rand(shape, generator=generator) < valid_share
    valid[0, 0, :2], target[0, 0, :2] = True, torch.tensor([0.0, 1.0])
    return logits, target, valid


def value_and_gradient(
    loss: nn.Module, logits: Tensor, target: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target, valid)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@every_loss
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(2, 9)),
    scale=st.sampled_from([0.1, 3.0, 12.0]),
    valid_share=st.sampled_from([0.1, 0.7, 1.0]),
)
def test_equals_the_formula_of_its_paper(
    name: str, seed: int, shape: tuple[int, int, int], scale: float, valid_share: float
) -> None:
    loss, oracle = LOSSES[name]
    drawn = draw(seed, shape, scale, valid_share)
    assert loss(*drawn).item() == pytest.approx(oracle(*drawn), rel=2e-5, abs=1e-6)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_formula(name: str, seed: int) -> None:
    loss, oracle = LOSSES[name]
    logits, target, valid = draw(seed, (2, 5, 6), 2.0, 0.7)
    _, gradient = value_and_gradient(loss, logits, target, valid)
    for place in (~valid).nonzero().tolist() + valid.nonzero().tolist()[::4]:
        step = torch.zeros_like(logits, dtype=torch.float64)
        step[place[0], 0, place[1], place[2]] = 1e-5
        slope = (oracle(logits + step, target, valid) - oracle(logits - step, target, valid)) / 2e-5
        assert gradient[place[0], 0, place[1], place[2]].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@every_loss
def test_the_gradient_agrees_with_differences_in_double_precision(name: str, scene: Scene) -> None:
    logits, target, valid = scene
    loss = LOSSES[name][0]
    torch.autograd.gradcheck(lambda one: loss(one, target, valid), logits.double().requires_grad_())


@every_loss
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_what_stands_in_invalid_pixels_changes_neither_value_nor_gradient(
    name: str, junk: float, scene: Scene
) -> None:
    logits, target, valid = scene
    loss = LOSSES[name][0]
    value, gradient = value_and_gradient(loss, logits, target, valid)
    spoiled = torch.where(valid[:, None], logits, junk), torch.where(valid, target, junk)
    other_value, other_gradient = value_and_gradient(loss, *spoiled, valid)
    assert torch.equal(other_value, value)
    assert torch.equal(other_gradient, gradient)
    assert not gradient[:, 0][~valid].any()
    assert gradient[:, 0][valid].any()


@every_loss
def test_no_valid_pixel_is_no_loss_and_no_gradient(name: str, scene: Scene) -> None:
    logits, target, valid = scene
    value, gradient = value_and_gradient(LOSSES[name][0], logits, target, torch.zeros_like(valid))
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


@every_loss
def test_a_batch_without_chips_is_no_loss(name: str) -> None:
    logits = torch.zeros(0, 1, 4, 4)
    value, _ = value_and_gradient(LOSSES[name][0], logits, torch.zeros(0, 4, 4), torch.zeros(0, 4, 4).bool())
    assert value.item() == 0


@every_loss
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-300.0, -95.0, -60.0, -20.0, 0.0, 20.0, 60.0, 95.0, 300.0])
def test_a_batch_of_one_class_has_a_finite_loss_and_gradient(name: str, truth: float, logit: float) -> None:
    target, valid = torch.full((2, 8, 8), truth), torch.ones(2, 8, 8, dtype=torch.bool)
    noise = 0.01 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for logits in (torch.full((2, 1, 8, 8), logit), logit + noise):
        value, gradient = value_and_gradient(LOSSES[name][0], logits, target, valid)
        assert math.isfinite(value.item()) and value.item() >= 0
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 100


@every_loss
@half_precision
@pytest.mark.parametrize("logit", [20.0, 100.0, 60000.0])
def test_half_precision_is_finite_where_the_network_is_sure_and_often_wrong(
    name: str, dtype: torch.dtype, logit: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    sign = torch.where(torch.rand(2, 1, 64, 64, generator=generator) < 0.5, -1.0, 1.0)
    target = (torch.rand(2, 64, 64, generator=generator) < 0.3).float()
    logits, valid = (logit * sign).to(dtype), torch.ones(2, 64, 64, dtype=torch.bool)
    value, gradient = value_and_gradient(LOSSES[name][0], logits, target, valid)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()
    # Read from half precision, computed in single: nothing is lost on the way.
    torch.testing.assert_close(value, LOSSES[name][0](logits.float(), target, valid), rtol=0, atol=0)


@every_loss
@half_precision
def test_half_precision_counts_more_pixels_than_it_can_name(name: str, dtype: torch.dtype) -> None:
    logits = torch.full((1, 1, 300, 300), -3.0, dtype=dtype)
    target, valid = torch.zeros(1, 300, 300), torch.ones(1, 300, 300, dtype=torch.bool)
    target[:, 100:150, 100:200] = 1
    logits[:, :, 90:160, 90:190] = 3
    value, gradient = value_and_gradient(LOSSES[name][0], logits, target, valid)
    double, exact = value_and_gradient(LOSSES[name][0], logits.double(), target, valid)
    assert value.item() == pytest.approx(double.item(), rel=1e-5)
    # Gradients below 6e-5 are the engine's to scale up; here they are only rounded.
    torch.testing.assert_close(gradient.double(), exact, rtol=0.01, atol=1e-7)


@every_loss
def test_autocast_changes_nothing(name: str, scene: Scene) -> None:
    logits, target, valid = scene
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(LOSSES[name][0], logits.bfloat16(), target, valid)
    expected, expected_gradient = value_and_gradient(LOSSES[name][0], logits.bfloat16(), target, valid)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


@every_loss
def test_twice_the_same_is_bitwise_the_same(name: str) -> None:
    drawn = draw(5, (4, 96, 96), 3.0, 0.9)
    first, second = (value_and_gradient(LOSSES[name][0], *drawn) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@every_loss
@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64])
def test_masks_of_whole_numbers_are_targets_too(name: str, kind: torch.dtype, scene: Scene) -> None:
    logits, target, valid = scene
    loss = LOSSES[name][0]
    torch.testing.assert_close(
        loss(logits, target.to(kind), valid), loss(logits, target, valid), rtol=0, atol=0
    )


@every_loss
def test_a_sure_and_right_network_has_hardly_any_loss(name: str) -> None:
    _, target, valid = draw(3, (2, 16, 16), 1.0, 0.8)
    assert LOSSES[name][0](120 * (target[:, None] - 0.5), target, valid).item() < 1e-6


@every_loss
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), truth_share=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_single_precision_has_the_gradient_of_double_precision(
    name: str, seed: int, truth_share: float
) -> None:
    """Logits of all magnitudes side by side, from 0.001 to 60000."""
    generator = torch.Generator().manual_seed(seed)
    magnitude = 10 ** torch.empty(2, 1, 8, 8).uniform_(-3, math.log10(60000), generator=generator)
    logits = torch.where(torch.rand(2, 1, 8, 8, generator=generator) < 0.5, -magnitude, magnitude)
    target = (torch.rand(2, 8, 8, generator=generator) < truth_share).float()
    valid = torch.rand(2, 8, 8, generator=generator) < 0.9
    value, gradient = value_and_gradient(LOSSES[name][0], logits, target, valid)
    expected, exact = value_and_gradient(LOSSES[name][0], logits.double(), target, valid)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    torch.testing.assert_close(gradient.double(), exact, rtol=1e-3, atol=1e-5)
