import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from buildmap.losses.pixels import class_maps, mean_over_valid, none_without_valid, smallest, take_valid

Scene = tuple[Tensor, Tensor, Tensor]

junk_values = pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])


def _spoil(scene: Scene, junk: float) -> Scene:
    """Write a value into the invalid pixels of logits and target."""
    logits, target, valid = scene
    return torch.where(valid[:, None], logits, junk), torch.where(valid, target, junk), valid


@junk_values
def test_valid_pixels_are_taken_as_they_are_and_others_as_zero(scene: Scene, junk: float) -> None:
    logits, target, valid = scene
    logit, truth = take_valid(*_spoil(scene, junk))
    expected = [np.where(valid, values, 0) for values in (logits.numpy()[:, 0], target)]
    assert np.array_equal(logit.numpy(), expected[0])
    assert np.array_equal(truth.numpy(), expected[1])
    assert not valid.all() and expected[0].any() and expected[1].any()


@junk_values
def test_valid_pixels_alone_have_a_gradient(scene: Scene, junk: float) -> None:
    logits, target, valid = _spoil(scene, junk)
    logits.requires_grad_()
    logit, _ = take_valid(logits, target, valid)
    (gradient,) = torch.autograd.grad((logit.square() / 2).sum(), logits)
    assert torch.equal(gradient[:, 0], torch.where(valid, logits.detach()[:, 0], 0.0))


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("target_type", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_precision_is_that_of_the_logits_and_at_least_single(
    scene: Scene, given_type: torch.dtype, expected: torch.dtype, target_type: torch.dtype
) -> None:
    logits, target, valid = scene
    given_logits = logits.to(given_type)
    logit, truth = take_valid(given_logits, target.to(target_type), valid)
    assert logit.dtype == truth.dtype == expected
    assert logit[valid].tolist() == given_logits[:, 0][valid].tolist(), "nothing is rounded on the way"
    assert truth[valid].tolist() == target[valid].tolist()
    assert {part.dtype for part in class_maps(given_logits, target.to(target_type), valid)} == {expected}


def test_more_pixels_are_summed_than_half_precision_can_count() -> None:
    ones = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    logit, truth = take_valid(ones, ones[:, 0], torch.ones(1, 300, 300, dtype=torch.bool))
    assert (logit.sum().item(), truth.sum().item()) == (90_000, 90_000)


@junk_values
def test_class_maps_are_the_softmax_of_zero_and_the_logit(scene: Scene, junk: float) -> None:
    logits, target, valid = scene
    probability, truth = class_maps(*_spoil(scene, junk))
    softmax = torch.cat((torch.zeros_like(logits), logits), 1).double().softmax(1).float()
    one_hot = F.one_hot(target.long(), 2).movedim(-1, 1).float()
    counts = valid[:, None].expand(-1, 2, -1, -1)
    torch.testing.assert_close(probability[counts], softmax[counts], rtol=1e-6, atol=0)
    assert torch.equal(truth[counts], one_hot[counts])
    assert not probability[~counts].any() and not truth[~counts].any()


@pytest.mark.parametrize("logit", [-80.0, -20.0, 20.0, 80.0])
def test_the_less_likely_class_keeps_its_probability(logit: float) -> None:
    shape = (1, 1, 1, 1)
    probability, _ = class_maps(
        torch.full(shape, logit), torch.zeros(shape[1:]), torch.ones(shape[1:], dtype=torch.bool)
    )
    assert probability.min().item() == pytest.approx(math.exp(-80 if abs(logit) == 80 else -20), rel=1e-6)
    assert probability[0, int(logit > 0)].item() == 1


@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=12, max_size=12),
    counts=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_the_mean_is_that_of_the_valid_pixels(values: list[float], counts: list[bool]) -> None:
    per_pixel, valid = torch.tensor(values).reshape(2, 2, 3), torch.tensor(counts).reshape(2, 2, 3)
    per_pixel[~valid] = math.nan
    chosen = [value for value, counted in zip(values, counts, strict=True) if counted]
    expected = math.fsum(chosen) / len(chosen) if chosen else 0
    assert mean_over_valid(per_pixel, valid).item() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_a_loss_stays_as_soon_as_one_pixel_is_valid() -> None:
    valid = torch.zeros(2, 2, 2, dtype=torch.bool)
    for loss in (torch.tensor(3.0), torch.tensor(math.nan)):
        assert none_without_valid(loss, valid).item() == 0
    valid[1, 0, 1] = True
    assert none_without_valid(torch.tensor(3.0), valid).item() == 3
    assert none_without_valid(torch.tensor(math.nan), valid).isnan()


@pytest.mark.parametrize("counted", [False, True])
def test_a_loss_that_does_not_count_has_no_gradient(counted: bool) -> None:
    logit = torch.tensor(2.0, requires_grad=True)
    none_without_valid(3 * logit, torch.full((1, 2, 2), counted)).backward()
    assert logit.grad is not None and logit.grad.item() == (3 if counted else 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_smallest_number_is_the_last_that_can_be_divided_by(dtype: torch.dtype) -> None:
    least = torch.tensor(smallest(torch.zeros(1, dtype=dtype)), dtype=dtype)
    assert (0 / least).item() == 0
    assert (1 / least).isfinite() and (1 / (least / 4)).isinf()
    if dtype != torch.bfloat16:
        assert least.item() == np.finfo(str(dtype).removeprefix("torch.")).smallest_normal
