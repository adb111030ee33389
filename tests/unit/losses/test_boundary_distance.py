"""The boundary loss against its formula on scipy's distances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from buildmap.losses.boundary_distance import BoundaryDistance, distance_to, distance_to_other_class
from tests.unit.losses.oracles import boundary_distance

Scene = tuple[Tensor, Tensor, Tensor]


@given(
    rows=st.integers(1, 40), cols=st.integers(1, 40), share=st.floats(0.001, 0.5), seed=st.integers(0, 999)
)
def test_distances_are_exactly_scipy_s(rows: int, cols: int, share: float, seed: int) -> None:
    seeds = np.random.default_rng(seed).random((2, rows, cols)) < share
    for ours, image in zip(distance_to(torch.from_numpy(seeds)).numpy(), seeds, strict=True):
        if image.any():
            assert np.array_equal(ours, ndimage.distance_transform_edt(~image).astype(np.float32))
        else:
            assert np.isinf(ours).all()


@pytest.mark.parametrize("shape", [(300, 20), (20, 300)])
def test_a_lone_seed_is_found_from_afar_beside_an_image_without_any(shape: tuple[int, int]) -> None:
    seeds = np.zeros((2, *shape), bool)
    seeds[1, -1, 3] = True
    near, far = distance_to(torch.from_numpy(seeds)).numpy()
    assert np.isinf(near).all()
    assert np.array_equal(far, ndimage.distance_transform_edt(~seeds[1]).astype(np.float32))


def test_a_seed_aside_is_found_after_a_farther_one_below() -> None:
    seeds = np.zeros((1, 45, 64), bool)
    seeds[0, 44] = seeds[0, 0, 20] = True
    ours = distance_to(torch.from_numpy(seeds)).numpy()[0]
    assert np.array_equal(ours, ndimage.distance_transform_edt(~seeds[0]).astype(np.float32))


def test_both_sides_of_a_boundary_are_one_pixel_apart_and_invalid_pixels_make_none() -> None:
    building = torch.tensor([[[0, 0, 0, 1, 1, 0, 0]]], dtype=torch.bool)
    valid = torch.tensor([[[1, 1, 1, 1, 1, 0, 1]]], dtype=torch.bool)
    apart = distance_to_other_class(building, valid)[valid]
    assert apart.tolist() == [3, 2, 1, 1, 2, 2]


def test_equals_the_direct_formula(scene: Scene) -> None:
    assert BoundaryDistance()(*scene).item() == pytest.approx(boundary_distance(*scene), rel=1e-5)


def test_an_error_at_the_boundary_costs_as_much_more_as_it_is_nearer() -> None:
    target = torch.zeros(1, 1, 12)
    target[..., :2] = 1
    valid = torch.ones_like(target, dtype=torch.bool)
    right = (target - 0.5)[:, None] * 200

    def loss_of_an_error_at(col: int) -> float:
        wrong = right.clone()
        wrong[..., col] *= -1
        return float(BoundaryDistance()(wrong, target, valid))

    assert loss_of_an_error_at(2) == pytest.approx(5 * loss_of_an_error_at(6))


def test_what_stands_in_invalid_pixels_changes_nothing(scene: Scene) -> None:
    logits, target, valid = scene
    other = torch.where(valid[:, None], logits, torch.nan).requires_grad_()
    loss = BoundaryDistance()(other, torch.where(valid, target, 1 - target), valid)
    torch.testing.assert_close(loss, BoundaryDistance()(*scene))
    loss.backward()
    assert other.grad is not None
    assert not other.grad[:, 0][~valid].any()
    assert other.grad[:, 0][valid].all()


def test_an_image_of_one_class_has_no_part_and_nothing_but_such_is_no_loss(scene: Scene) -> None:
    logits, target, valid = scene
    plain = target.clone()
    plain[1] = 0
    expected = BoundaryDistance()(logits[:1], target[:1], valid[:1])
    torch.testing.assert_close(BoundaryDistance()(logits, plain, valid), expected)
    logits.requires_grad_()
    loss = BoundaryDistance()(logits, torch.ones_like(target), valid)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("sign", "expected"), [(-1, 1.0), (1, 0.0)])
def test_half_precision_is_right_at_confident_logits(dtype: torch.dtype, sign: int, expected: float) -> None:
    target = torch.zeros(2, 200, 200)
    target[:, :90] = 1
    logits = (sign * 30 * (2 * target - 1)).to(dtype)[:, None].requires_grad_()
    loss = BoundaryDistance()(logits, target, torch.ones_like(target, dtype=torch.bool))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
