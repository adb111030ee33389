"""Boundaries that agree, are shifted, lie on the edge of what is known, or should not be."""

import pytest
import torch
from torch import Tensor

from buildmap.losses.boundary_alignment import BoundaryAlignment
from tests.unit.losses import oracles

Scene = tuple[Tensor, Tensor, Tensor]
SIZE = 24
SURE = 100.0


def square(top: int, left: int, side: int = 8) -> Tensor:
    """Draw a building on a chip (1, SIZE, SIZE)."""
    target = torch.zeros(1, SIZE, SIZE)
    target[0, top : top + side, left : left + side] = 1
    return target


def loss_of(prediction: Tensor, target: Tensor, valid: Tensor | None = None, tolerance_px: int = 5) -> float:
    """Compare two masks."""
    valid = torch.ones_like(target, dtype=torch.bool) if valid is None else valid
    return BoundaryAlignment(3, tolerance_px)(SURE * (2 * prediction[:, None] - 1), target, valid).item()


@pytest.mark.parametrize("boundary_px", [1, 3, 5, 7])
@pytest.mark.parametrize("tolerance_px", [1, 3, 5, 9])
def test_equals_the_direct_formula_at_any_size(boundary_px: int, tolerance_px: int, scene: Scene) -> None:
    expected = oracles.boundary_alignment(*scene, boundary_px, tolerance_px)
    assert BoundaryAlignment(boundary_px, tolerance_px)(*scene).item() == pytest.approx(expected, rel=1e-5)


def test_a_shift_within_the_tolerance_is_free_and_beyond_it_costs_more_and_more() -> None:
    target = square(8, 8)
    losses = [loss_of(square(8, 8 + shift), target) for shift in range(6)]
    assert losses[:3] == [0, 0, 0]
    assert 0 < losses[3] < losses[4] < losses[5]


def test_worked_by_hand() -> None:
    """A column of building in a row of five, predicted one column off, no tolerance."""
    target, prediction = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    target[0, 0, 1] = prediction[0, 0, 2] = 1
    # Building: boundaries {1} and {2}, F1 = 0. Background: {0, 2} and {1, 3}, F1 = 0.
    assert loss_of(prediction, target, tolerance_px=1) == 2
    # Widened by one pixel, {1} meets {2}, and each of {0, 2} one of {1, 3}.
    assert loss_of(prediction, target, tolerance_px=3) == 0
    prediction[0, 0, 4] = 1
    # Building: {2, 4} claimed, {2} near {1}: P 1/2, R 1, F1 2/3. Background: {1, 3} claimed and right, R 1.
    assert loss_of(prediction, target, tolerance_px=3) == pytest.approx(1 / 3)


def test_the_edge_of_the_image_is_no_boundary() -> None:
    """A building that fills all but a column has one wall; a ring of them would halve the precision."""
    target, prediction = torch.ones(1, SIZE, SIZE), torch.ones(1, SIZE, SIZE)
    target[..., 0] = prediction[..., 0] = 0
    assert loss_of(prediction, target, tolerance_px=1) == 0
    assert loss_of(torch.ones(1, SIZE, SIZE), target) == 2


@pytest.mark.parametrize("tolerance_px", [1, 5, 9])
def test_invalid_ground_is_like_the_edge_of_the_image(tolerance_px: int) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(3, 1, SIZE, SIZE, generator=generator)
    target = (torch.rand(3, SIZE, SIZE, generator=generator) < 0.4).float()
    valid = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    valid[:, 4:20, :11] = True
    loss = BoundaryAlignment(3, tolerance_px)
    whole, part = logits.clone().requires_grad_(), logits[:, :, 4:20, :11].clone().requires_grad_()
    cut = target[:, 4:20, :11]
    first, second = loss(whole, target, valid), loss(part, cut, torch.ones_like(cut, dtype=torch.bool))
    torch.testing.assert_close(first, second)
    (first + second).backward()
    assert whole.grad is not None and part.grad is not None
    torch.testing.assert_close(whole.grad[:, :, 4:20, :11], part.grad)
    assert not whole.grad[:, 0][~valid].any()


def test_a_building_that_runs_into_invalid_ground_has_no_wall_there() -> None:
    target = square(8, 8)
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[..., 12:] = False
    right = loss_of(target, target, valid)
    # The half that is known, as the network sees it where the raster's fill begins.
    halved = target.clone()
    halved[..., 12:] = 0
    assert right == loss_of(halved, target, valid) == 0


def test_a_boundary_invented_on_a_chip_without_buildings_lowers_the_precision_of_the_batch() -> None:
    target = torch.cat((square(8, 8), torch.zeros(1, SIZE, SIZE)))
    invented = torch.cat((square(8, 8), square(8, 8)))
    assert loss_of(target, target) == 0
    # P is 1/2 and R 1 for both classes.
    assert loss_of(invented, target) == pytest.approx(2 * (1 - 2 / 3))


def test_both_classes_count_alike(scene: Scene) -> None:
    logits, target, valid = scene
    loss = BoundaryAlignment(3, 5)
    torch.testing.assert_close(loss(-logits, 1 - target, valid), loss(logits, target, valid))


def test_descent_moves_a_soft_wall_towards_the_true_one() -> None:
    target, valid = square(6, 6, 12), torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    logits = (3 * (2 * square(2, 2, 12) - 1))[:, None].requires_grad_()
    loss = BoundaryAlignment(3, 5)
    optimizer = torch.optim.Adam([logits], 0.3)
    first = loss(logits, target, valid).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, target, valid).backward()
        optimizer.step()
    assert loss(logits, target, valid).item() < 0.5 * first
