"""Context from dilated convolutions, against sums over shifted features."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from buildmap.models.blocks.aspp import ASPP, DenseASPP, conv


def convolved(features: Tensor, weight: Tensor, rate: int = 1) -> Tensor:
    """Convolve, normalize by the batch's own statistics and rectify, tap by tap."""
    rows, cols = features.shape[2:]
    reach = rate * (weight.shape[2] // 2)
    padded = nn.functional.pad(features, (reach,) * 4)
    summed = torch.zeros(len(features), len(weight), rows, cols, dtype=features.dtype)
    for row, col in product(range(weight.shape[2]), repeat=2):
        seen = padded[..., row * rate : row * rate + rows, col * rate : col * rate + cols]
        summed += torch.einsum("oi,bihw->bohw", weight[:, :, row, col], seen)
    variance, mean = torch.var_mean(summed, (0, 2, 3), unbiased=False, keepdim=True)
    return ((summed - mean) / (variance + 1e-5).sqrt()).clamp(min=0)


def weights(context: nn.Module) -> Iterator[Tensor]:
    return (module.weight.detach() for module in context.modules() if isinstance(module, nn.Conv2d))


def seen_from_the_middle(values: Tensor, features: Tensor) -> set[tuple[int, int]]:
    """Give the moves to all pixels that have a say in the middle one."""
    middle = values.shape[2] // 2
    (gradient,) = torch.autograd.grad(values[0, 0, middle, middle], features, retain_graph=True)
    return {(int(row) - middle, int(col) - middle) for row, col in gradient[0].sum(0).nonzero()}


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (3, 5)])
def test_a_convolution_keeps_the_sides_and_is_normalized_and_rectified(kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    block = conv(3, 4, kernel, dilation).double()
    features = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    (weight,) = weights(block)
    assert [name for name, _ in block.named_parameters()] == ["0.weight", "1.weight", "1.bias"]
    torch.testing.assert_close(block(features), convolved(features, weight, dilation))


def test_a_plain_aspp_joins_a_pixel_its_surroundings_at_every_rate_and_the_whole() -> None:
    """Sci-Net, figure 2a."""
    torch.manual_seed(0)
    context = ASPP(3, 4, (2, 3, 5)).double()
    features = torch.randn(3, 3, 11, 9, dtype=torch.float64)
    point, near, far, farther, whole, project = weights(context)
    mean = convolved(features.mean((2, 3), keepdim=True), whole).expand(3, 4, 11, 9)
    scales = [convolved(features, point)]
    scales += [convolved(features, weight, rate) for weight, rate in ((near, 2), (far, 3), (farther, 5))]
    expected = convolved(torch.cat([*scales, mean], dim=1), project)
    torch.testing.assert_close(context(features), expected)


def test_a_dense_aspp_s_every_scale_sees_the_features_and_all_scales_before_it() -> None:
    """Yang et al. (2018), figure 3; Sci-Net, section 4.4 (b): 1 x 1 to the bottleneck, then dilated."""
    torch.manual_seed(0)
    context = DenseASPP(3, bottleneck=5, growth=2, rates=(1, 2, 4)).double()
    features = torch.randn(2, 3, 11, 9, dtype=torch.float64)
    given_weights = weights(context)
    expected = features
    for rate in (1, 2, 4):
        narrowed = convolved(expected, next(given_weights))
        assert narrowed.shape[1] == 5
        expected = torch.cat([expected, convolved(narrowed, next(given_weights), rate)], dim=1)
    assert next(given_weights, None) is None
    torch.testing.assert_close(context(features), expected)


@given(rates=st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_a_dense_aspp_s_scales_see_the_sums_of_all_moves_up_to_theirs(rates: list[int]) -> None:
    context = DenseASPP(1, bottleneck=1, growth=1, rates=rates).eval()
    for parameter in context.parameters():
        nn.init.ones_(parameter)
    side = 2 * sum(rates) + 1
    features = torch.ones(1, 1, side, side, requires_grad=True)
    values = context(features)
    expected = {(0, 0)}
    assert seen_from_the_middle(values[:, :1], features) == expected
    for scale, rate in enumerate(rates, start=1):
        moves = set(product((-rate, 0, rate), repeat=2))
        # A scale's centre tap sees what the scales before it saw.
        expected = {(row + up, col + left) for row, col in expected for up, left in moves}
        assert seen_from_the_middle(values[:, scale : scale + 1], features) == expected


def test_the_paper_s_rates_leave_out_two_pixels_of_three() -> None:
    """3, 6, 12 and 18 together reach every third pixel up to 39 away, and no other."""
    context = DenseASPP(1, bottleneck=1, growth=1, rates=(3, 6, 12, 18)).eval()
    for parameter in context.parameters():
        nn.init.ones_(parameter)
    features = torch.ones(1, 1, 83, 83, requires_grad=True)
    seen = seen_from_the_middle(context(features)[:, 4:], features)
    assert seen == set(product(range(-39, 40, 3), repeat=2))
