"""HR-Mamba's stem, step by step, with the edges of scikit-image and the median of scipy."""

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import canny
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from buildmap.models.blocks.canny import Canny
from buildmap.models.blocks.canny_median import CannyMedianStem
from buildmap.models.blocks.median import Median3x3
from tests.unit.models.blocks.parity import largest_difference_exported
from tests.unit.models.blocks.test_canny import pictures, snake


def test_edges_are_added_to_the_first_features_and_the_median_ends_it() -> None:
    torch.manual_seed(0)
    stem = CannyMedianStem(2, width=5, low=1.5, high=3.0, sigma=1.0).double().eval()
    normalization = stem.extract[1]
    assert isinstance(normalization, nn.BatchNorm2d)
    normalization.running_mean = torch.rand(5, dtype=torch.float64)
    normalization.running_var = 0.01 + 0.01 * torch.rand(5, dtype=torch.float64)
    image = torch.from_numpy(pictures((2, 2, 40, 50)))
    with torch.no_grad():
        features = conv2d(image, stem.extract[0].weight, padding=1)
        features = (features - normalization.running_mean[:, None, None]) / (
            normalization.running_var[:, None, None] + 1e-5
        ).sqrt()
        edges = [canny(one, 1.0, 1.5, 3.0) for one in features.flatten(0, 1).numpy()]
        enhanced = relu(features + torch.from_numpy(np.reshape(edges, features.shape)))
        enhanced = conv2d(enhanced, stem.enhance.weight, stem.enhance.bias, padding=1)
        reduced = conv2d(enhanced, stem.reduce.weight, stem.reduce.bias).numpy()
        expected = ndimage.median_filter(reduced, (1, 1, 3, 3), mode="nearest")
        assert 0.02 < np.mean(edges) < 0.5
        torch.testing.assert_close(stem(image), torch.from_numpy(expected))


def test_its_convolutions_learn_past_edges_and_median() -> None:
    torch.manual_seed(0)
    stem = CannyMedianStem(3, width=4, low=1.5, high=3.0, sigma=1.0)
    (stem(torch.randn(2, 3, 16, 16)) * torch.randn(2, 3, 16, 16)).sum().backward()
    for name, parameter in stem.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


class EdgesAndMedian(nn.Module):
    """Both of one image, without convolutions, whose last bits would decide where edges are."""

    def __init__(self) -> None:
        super().__init__()
        self.edges, self.median = Canny(0.1, 1.2), Median3x3()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.edges(x), self.median(x)), 1)


def test_exported_edges_and_median_are_the_same_on_other_sizes_and_long_paths(tmp_path: Path) -> None:
    example = torch.from_numpy(pictures((2, 2, 20, 30))).float()
    maze = np.kron(snake(41), np.ones((3, 3)))[None].repeat(2, 1)
    others = [pictures((1, 2, 71, 47)), pictures((3, 2, 1, 5)), 0.3 * maze + pictures(maze.shape) * 0.1]
    images = [torch.from_numpy(image).float() for image in others]
    assert largest_difference_exported(EdgesAndMedian(), example, images, tmp_path / "m.onnx") == 0
