"""Involution against its formula, position by position."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from buildmap.models.blocks.involution import Involution, involve
from tests.unit.models.blocks.parity import largest_difference_exported


def direct(x: Tensor, kernels: Tensor) -> Tensor:
    """Sum kernel times neighbour, one number after the other (Li et al. 2021, equation 4)."""
    batch, channels, height, width = x.shape
    groups, places = kernels.shape[1:3]
    side = math.isqrt(places)
    out = torch.zeros(batch, channels, *kernels.shape[3:], dtype=x.dtype)
    for b, k, i, j in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        for u in range(side):
            for v in range(side):
                row, col = i + u - side // 2, j + v - side // 2
                if 0 <= row < height and 0 <= col < width:
                    weight = kernels[b, k * groups // channels, u * side + v, i, j]
                    out[b, k, i, j] += weight * x[b, k, row, col]
    return out


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("sides", [(5, 4), (1, 3)])
def test_equals_the_formula_forwards_and_backwards(kernel: int, sides: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, *sides, dtype=torch.float64, generator=generator, requires_grad=True)
    kernels = torch.randn(
        2, 2, kernel**2, *sides, dtype=torch.float64, generator=generator, requires_grad=True
    )
    ours, expected = involve(x, kernels), direct(x, kernels)
    torch.testing.assert_close(ours, expected)
    pull = torch.randn(ours.shape, dtype=torch.float64, generator=generator)
    for got, true in zip(
        torch.autograd.grad(ours, (x, kernels), pull),
        torch.autograd.grad(expected, (x, kernels), pull),
        strict=True,
    ):
        torch.testing.assert_close(got, true)


def test_the_kernels_of_a_position_come_from_that_position() -> None:
    torch.manual_seed(0)
    layer = Involution(8, kernel=3, group_channels=4, reduction=2).double().eval()
    x = torch.randn(1, 8, 6, 7, dtype=torch.float64)
    generated = layer.span(layer.reduce(x))[0, :, 2, 3].view(2, 9)
    neighbours = x[0, :, 1:4, 2:5].reshape(2, 4, 9)
    expected = (generated[:, None] * neighbours).sum(-1).flatten()
    torch.testing.assert_close(layer(x)[0, :, 2, 3], expected)


@pytest.mark.parametrize(("kernel", "count"), [(3, 1024 + 32 + 17 * 36), (7, 1024 + 32 + 17 * 196)])
def test_parameters_are_those_of_a_bottleneck(kernel: int, count: int) -> None:
    assert sum(p.numel() for p in Involution(64, kernel=kernel).parameters()) == count


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    layer = Involution(16, kernel=3, group_channels=4)
    layer(torch.randn(2, 16, 5, 5)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_exported_it_is_the_same_at_other_sizes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = Involution(8, kernel=3, group_channels=4)
    others = [torch.randn(1, 8, 31, 17), torch.randn(3, 8, 1, 5)]
    example = torch.randn(2, 8, 6, 10)
    assert largest_difference_exported(layer, example, others, tmp_path / "m.onnx") < 1e-5


@pytest.mark.parametrize(
    ("kernel", "group_channels", "named"), [(4, 4, "4 is not odd"), (3, 3, "multiple of 3")]
)
def test_impossible_sizes_are_refused(kernel: int, group_channels: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Involution(8, kernel=kernel, group_channels=group_channels)
