"""Canny's edges against scikit-image's, hysteresis against labelled components.

Exported, they are compared together with the median, in the tests of the stem that has both.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import canny

from buildmap.models.blocks.canny import Canny, hysteresis


def pictures(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float64]:
    """Random cells of one value each, about five pixels wide, and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((*shape[:2], -(-shape[2] // 5), -(-shape[3] // 5)))
    blocks = coarse.repeat(5, 2).repeat(5, 3)[:, :, : shape[2], : shape[3]]
    return blocks + 0.05 * rng.standard_normal(shape)


@pytest.mark.parametrize(("low", "high", "sigma"), [(0.1, 0.2, 1.0), (0.3, 1.5, 1.4), (0.05, 0.6, 2.0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_scikit_image_s(low: float, high: float, sigma: float, dtype: type) -> None:
    images = pictures((2, 2, 61, 83)).astype(dtype)
    edges = Canny(low, high, sigma)(torch.from_numpy(images)).numpy()
    expected = [canny(image, sigma, low, high) for image in images.reshape(-1, 61, 83)]
    assert np.array_equal(edges, np.reshape(expected, images.shape))
    assert 0.01 < np.mean(expected) < 0.4


@given(rows=st.integers(1, 12), cols=st.integers(1, 12), seed=st.integers(0, 99))
def test_equals_scikit_image_s_on_pictures_smaller_than_the_gaussian(rows: int, cols: int, seed: int) -> None:
    image = pictures((1, 1, rows, cols), seed)
    edges = Canny(0.1, 0.4)(torch.from_numpy(image)).numpy()
    assert np.array_equal(edges[0, 0], canny(image[0, 0], 1.0, 0.1, 0.4))


def joined(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep whole components that have a strong pixel."""
    labels, _ = ndimage.label(weak, np.ones((3, 3)))
    return np.isin(labels, np.unique(labels[strong & weak]))


@given(share=st.floats(0.1, 0.9), seed=st.integers(0, 999))
def test_hysteresis_keeps_whole_components(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weak = rng.random((3, 19, 23)) < share
    strong = weak & (rng.random(weak.shape) < 0.02)
    kept = hysteresis(torch.from_numpy(weak), torch.from_numpy(strong)).numpy()
    for picture in range(3):
        assert np.array_equal(kept[picture], joined(weak[picture], strong[picture]))


def snake(side: int) -> NDArray[np.bool_]:
    """A path through half of all pixels."""
    weak = np.zeros((1, side, side), bool)
    weak[0, ::2] = True
    weak[0, 1::4, -1] = weak[0, 3::4, 0] = True
    return weak


def test_hysteresis_follows_a_path_as_long_as_the_picture_is_large() -> None:
    weak = torch.from_numpy(snake(101))
    for row, col in [(0, 0), (100, 100), (50, 50)]:
        strong = torch.zeros_like(weak)
        strong[0, row, col] = True
        assert torch.equal(hysteresis(weak, strong), weak)
    assert not hysteresis(weak, torch.zeros_like(weak)).any()


def test_edges_are_constants_to_the_gradient_and_of_the_input_s_precision() -> None:
    features = torch.from_numpy(pictures((1, 2, 20, 20))).bfloat16().requires_grad_()
    edges = Canny(0.1, 0.2)(features)
    assert edges.dtype == torch.bfloat16 and not edges.requires_grad
    (features + edges).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.ones_like(features))


def test_autocast_changes_no_edge() -> None:
    image = torch.from_numpy(pictures((1, 1, 60, 60))).float()
    with torch.autocast("cpu", torch.bfloat16):
        edges = Canny(0.1, 0.4)(image)
    assert torch.equal(edges, Canny(0.1, 0.4)(image))


@pytest.mark.parametrize(("low", "high", "sigma"), [(0.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.1, 0.2, 0.0)])
def test_impossible_parameters_are_refused(low: float, high: float, sigma: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Canny(low, high, sigma)
