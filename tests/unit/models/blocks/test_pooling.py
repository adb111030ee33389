"""Pooling as matrix products: torch's own numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from buildmap.models.blocks.pooling import AdaptiveMean, PyramidPooling, make_exportable


@given(rows=st.integers(1, 40), cols=st.integers(1, 40), cells=st.integers(1, 9))
@settings(deadline=None)
def test_means_are_torch_s(rows: int, cols: int, cells: int) -> None:
    features = torch.randn(2, 3, rows, cols, dtype=torch.float64)
    torch.testing.assert_close(AdaptiveMean(cells)(features), nn.AdaptiveAvgPool2d(cells)(features))


def test_only_pooling_to_more_than_one_cell_is_replaced() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.AdaptiveAvgPool2d((3, 3)), nn.ReLU()))
    make_exportable(network)
    inner = network[1]
    assert isinstance(network[0], nn.AdaptiveAvgPool2d)
    assert isinstance(inner, nn.Sequential)
    assert isinstance(inner[0], AdaptiveMean)
    assert inner[0].cells == 3


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_a_pyramid_gives_every_pixel_the_mean_of_its_part_beside_itself(cells: int) -> None:
    features = torch.randn(1, 2, 6, 6)
    seen = PyramidPooling([AdaptiveMean(cells)])(features)
    assert seen.shape == (1, 4, 6, 6)
    assert torch.equal(seen[:, 2:], features)
    corner = features[..., : 6 // cells, : 6 // cells].mean((2, 3))
    torch.testing.assert_close(seen[:, :2, 0, 0], corner)
