"""The shape most networks have: parts in a row, and logits enlarged to the image, areas onto areas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from buildmap.models.network import Segmenter


class Halves(nn.Module):
    """Features of the image at 1, 1/2, 1/4 and 1/8."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [avg_pool2d(image, 2**level) for level in range(4)]


class Nth(nn.Module):
    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def forward(self, features: list[Tensor]) -> Tensor:
        return features[self.level]


def segmenter(level: int, *, bands: int = 3, classes: int = 2) -> Segmenter:
    return Segmenter(
        encoder=Halves(),
        decoder=Nth(level),
        head=nn.Conv2d(bands, classes, 1),
        stride=8,
        reduction=2**level,
    ).eval()


def enlarged(values: np.ndarray, times: int) -> np.ndarray:
    """Read off between pixel centres; beyond the outermost ones, the nearest."""
    rows, cols = ((np.arange(length * times) + 0.5) / times - 0.5 for length in values.shape)
    return np.asarray(
        map_coordinates(values, np.meshgrid(rows, cols, indexing="ij"), order=1, mode="nearest")
    )


@given(
    rows=st.integers(1, 4), cols=st.integers(1, 4), level=st.integers(0, 3), seed=st.integers(0, 2**32 - 1)
)
@settings(deadline=None, max_examples=30)
def test_logits_are_the_head_of_the_decoder_of_the_encoder_read_off_between_pixel_centres(
    rows: int, cols: int, level: int, seed: int
) -> None:
    torch.manual_seed(seed)
    network = segmenter(level)
    image = torch.randn(2, 3, 8 * rows, 8 * cols)
    with torch.inference_mode():
        small = network.head(avg_pool2d(image, 2**level))
        logits = network(image)
    assert logits.shape == (2, 2, 8 * rows, 8 * cols)
    expected = [[enlarged(one.numpy(), 2**level) for one in classes] for classes in small]
    np.testing.assert_allclose(logits.numpy(), np.array(expected), atol=1e-5)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_two_windows_agree_about_the_ground_they_share(level: int) -> None:
    torch.manual_seed(0)
    network = segmenter(level)
    image = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        whole = network(image)
        window = network(image[..., 8:40, 16:56])
    edge = 2**level // 2  # as far as the nearest pixel centre is missed
    inside = slice(edge, -edge)
    torch.testing.assert_close(window[..., inside, inside], whole[..., 8:40, 16:56][..., inside, inside])


def test_the_stride_is_what_it_is_told_and_weights_are_the_parts_alone() -> None:
    network = segmenter(2)
    assert network.stride == 8
    assert list(network.state_dict()) == ["head.weight", "head.bias"]
