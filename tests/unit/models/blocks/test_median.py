"""The median filter against scipy's, and where its gradient goes.

Exported, it is compared together with the edges, in the tests of the stem that has both.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from buildmap.models.blocks.median import Median3x3


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    levels=st.sampled_from([2, 5, 1000]),
    seed=st.integers(0, 99),
)
def test_equals_scipy_s_at_any_size_with_and_without_equal_pixels(
    rows: int, cols: int, levels: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, levels, (2, 3, rows, cols)).astype(np.float32)
    expected = ndimage.median_filter(image, (1, 1, 3, 3), mode="reflect")
    assert np.array_equal(Median3x3()(torch.from_numpy(image)).numpy(), expected)


def test_the_filter_is_the_same_when_a_gradient_is_wanted() -> None:
    image = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Median3x3()(image.clone().requires_grad_()), Median3x3()(image))


@pytest.mark.parametrize("shape", [(2, 2, 5, 4), (1, 1, 1, 6), (1, 2, 3, 1), (1, 1, 2, 2)])
def test_the_gradient_agrees_with_differences_up_to_the_border(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(Median3x3(), (image.requires_grad_(),))


def test_among_equals_the_first_in_reading_order_takes_the_whole_gradient() -> None:
    image = torch.tensor([[5.0, 1, 7], [2, 5, 9], [8, 0, 5]])[None, None].requires_grad_()
    Median3x3()(image)[0, 0, 1, 1].backward()
    assert image.grad is not None
    assert image.grad.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]
