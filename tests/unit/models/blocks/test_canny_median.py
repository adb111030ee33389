"""HR-Mamba's stem, step by step, with the edges of scikit-image and the median of scipy."""

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import canny
from torch import nn
from torch.nn.functional import conv2d, relu

from buildmap.models.blocks.canny_median import CannyMedianStem
from tests.unit.models.blocks.test_canny import pictures


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
