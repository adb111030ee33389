"""L1 and the unsharp mask, against NumPy and SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from torch import Tensor

from buildmap.losses.reconstruction import known, mean_absolute_error, sharpen

Floats = NDArray[np.float64]


def blurred(plane: Floats) -> Floats:
    """OpenCV's Gaussian of 51 x 51 whose sigma it chooses, borders mirrored about the outermost centres."""
    sigma = 0.3 * ((51 - 1) * 0.5 - 1) + 0.8
    kernel = np.array([math.exp(-((at - 25) ** 2) / (2 * sigma**2)) for at in range(51)])
    kernel /= kernel.sum()
    return np.asarray(correlate1d(correlate1d(plane, kernel, 0, mode="mirror"), kernel, 1, mode="mirror"))


def sharpened(plane: Floats) -> Floats:
    """Wang et al. (2021), section 3.5, with the published weight of 0.5 and threshold of 10 grey levels."""
    residual = plane - blurred(plane)
    soft = blurred((np.abs(residual) * 255 > 10).astype(float))
    return np.asarray(soft * np.clip(plane + 0.5 * residual, 0, 1) + (1 - soft) * plane)


def blocks(rows: int, cols: int, seed: int) -> Tensor:
    """Draw a map: even ground with rectangles of other colours, (1, 3, rows, cols)."""
    rng = np.random.default_rng(seed)
    picture = np.ones((3, rows, cols)) * rng.uniform(0.2, 0.8, (3, 1, 1))
    for _ in range(4):
        top, left = rng.integers(0, rows), rng.integers(0, cols)
        picture[:, top : top + 9, left : left + 13] = rng.uniform(0, 1, (3, 1, 1))
    return torch.from_numpy(picture)[None]


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 80), cols=st.integers(1, 80), seed=st.integers(0, 2**32 - 1))
def test_sharpening_is_the_published_unsharp_mask_at_any_size(rows: int, cols: int, seed: int) -> None:
    picture = torch.cat([blocks(rows, cols, seed), blocks(rows, cols, seed + 1)])
    expected = [[sharpened(plane) for plane in image] for image in picture.numpy()]
    np.testing.assert_allclose(sharpen(picture).numpy(), np.array(expected), atol=1e-12)


def test_an_edge_is_made_steeper_and_even_ground_far_from_it_stays_even() -> None:
    picture = torch.full((1, 1, 40, 200), 0.4)
    picture[..., 100:] = 0.6
    sharp = sharpen(picture)
    assert sharp[..., 100].min() - sharp[..., 99].max() > 1.2 * 0.2
    torch.testing.assert_close(sharp[..., :40], picture[..., :40])
    torch.testing.assert_close(sharp[..., 160:], picture[..., 160:])


def test_what_differs_by_less_than_ten_grey_levels_is_left_alone() -> None:
    picture = torch.full((1, 1, 64, 64), 0.5)
    picture[..., 32:] += 9 / 255
    torch.testing.assert_close(sharpen(picture), picture, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_sharpened_picture_is_in_single_precision_at_least_whatever_the_surroundings(
    dtype: torch.dtype,
) -> None:
    picture = blocks(48, 40, 1).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        sharp = sharpen(picture.requires_grad_())
    assert sharp.dtype == torch.float32
    assert not sharp.requires_grad
    # A pixel at the threshold may be on the other side of it; half precision would be off by ten times that.
    torch.testing.assert_close(sharp, sharpen(picture.detach().double()).float(), rtol=0, atol=2e-4)


def test_a_sharpened_picture_has_no_colour_that_there_is_not() -> None:
    picture = (blocks(64, 64, 3) > 0.5).double()
    sharp = sharpen(picture)
    assert sharp.min() >= 0
    assert sharp.max() <= 1


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    picture, truth = (torch.rand(2, 3, 5, 7, generator=generator) for _ in range(2))
    return picture, truth, torch.rand(2, 5, 7, generator=generator) < 0.7


@given(seed=st.integers(0, 2**31))
def test_l1_is_the_mean_distance_of_the_colours_of_valid_pixels(seed: int) -> None:
    picture, truth, valid = scene(seed)
    seen = valid.numpy()
    if not seen.any():
        return
    apart = np.abs(picture.double().numpy() - truth.double().numpy())
    expected = apart.transpose(0, 2, 3, 1)[seen].mean()
    assert mean_absolute_error(picture, truth, valid).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_l1_points_at_the_truth_and_invalid_pixels_have_none() -> None:
    picture, truth, valid = scene()
    loss = mean_absolute_error(picture.requires_grad_(), truth, valid)
    (gradient,) = torch.autograd.grad(loss, picture)
    expected = (picture - truth).sign() * valid[:, None] / (3 * valid.sum())
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("junk", [math.nan, math.inf])
def test_what_stands_in_invalid_pixels_does_not_matter(junk: float) -> None:
    picture, truth, valid = scene()
    expected = mean_absolute_error(picture, truth, valid)
    spoiled = torch.where(valid[:, None], picture, junk).requires_grad_()
    loss = mean_absolute_error(spoiled, torch.where(valid[:, None], truth, -junk), valid)
    (gradient,) = torch.autograd.grad(loss, spoiled)
    assert torch.equal(loss, expected)
    assert gradient.isfinite().all()


def test_no_valid_pixel_is_no_loss() -> None:
    picture, truth, valid = scene()
    assert mean_absolute_error(picture, truth, torch.zeros_like(valid)).item() == 0


def test_half_precision_sums_more_pixels_than_it_can_count() -> None:
    picture = torch.full((1, 3, 300, 300), 0.25, dtype=torch.float16)
    loss = mean_absolute_error(picture, torch.zeros_like(picture), torch.ones(1, 300, 300).bool())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.25)


def test_what_is_known_is_black_where_it_is_not() -> None:
    picture, _, valid = scene()
    shown = known(picture, valid)
    for band in range(3):
        assert torch.equal(shown[:, band][valid], picture[:, band][valid])
        assert not shown[:, band][~valid].any()
