"""The paper's Base Model: three blocks of convolution and deconvolution, and nothing far is seen."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d, correlate2d
from torch import Tensor

from buildmap.errors import MismatchError
from buildmap.models.shallow_net import ShallowNet, build
from buildmap.preset import Model

Floats = NDArray[np.float64]


def correlated(maps: Floats, weight: Floats) -> Floats:
    """Of (C, H, W) with (D, C, 3, 3)."""
    return np.array(
        [sum(correlate2d(m, k, "same") for m, k in zip(maps, kernels, strict=True)) for kernels in weight]
    )


def spread(maps: Floats, weight: Floats) -> Floats:
    """Deconvolve (C, H, W) with (C, D, 3, 3): every pixel adds the kernel, times its value, around itself."""
    return np.array(
        [
            sum(convolve2d(m, kernels[made], "same") for m, kernels in zip(maps, weight, strict=True))
            for made in range(weight.shape[1])
        ]
    )


def by_hand(image: Floats, tensors: dict[str, Floats]) -> Floats:
    maps = image
    for block in range(3):
        at = f"blocks.{block}."
        maps = spread(correlated(maps, tensors[at + "0.weight"]), tensors[at + "1.weight"])
        mean, variance = tensors[at + "2.running_mean"], tensors[at + "2.running_var"]
        scale = tensors[at + "2.weight"] / np.sqrt(variance + 1e-5)
        maps = (maps - mean[:, None, None]) * scale[:, None, None] + tensors[at + "2.bias"][:, None, None]
        maps = np.maximum(maps, 0)
    logits = np.einsum("oc,chw->ohw", tensors["head.weight"][..., 0, 0], maps)
    return np.asarray(logits + tensors["head.bias"][:, None, None])


def make(bands: int = 3, classes: int = 1, width: int = 4) -> ShallowNet:
    torch.manual_seed(0)
    network = ShallowNet(bands, classes, width=width).double()
    for _ in range(3):  # running means other than the initial ones
        network(torch.randn(4, bands, 16, 16, dtype=torch.float64))
    return network.eval()


@pytest.mark.parametrize(("bands", "classes"), [(3, 1), (5, 2)])
def test_logits_are_those_of_the_paper_s_description(bands: int, classes: int) -> None:
    network = make(bands, classes)
    image = torch.randn(1, bands, 6, 9, dtype=torch.float64)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        logits = network(image)
    expected = by_hand(image[0].numpy(), tensors)
    assert expected.std() > 0.001
    np.testing.assert_allclose(logits[0].numpy(), expected, atol=1e-10)


def test_parameters_add_up() -> None:
    network = ShallowNet(3, 1)
    first, others = 9 * 3 * 64 + 9 * 64 * 64 + 2 * 64, 2 * 9 * 64 * 64 + 2 * 64
    assert sum(p.numel() for p in network.parameters()) == first + 2 * others + 64 + 1


def test_a_pixel_is_judged_by_the_13_x_13_pixels_around_it() -> None:
    network = make()
    image = torch.randn(1, 3, 21, 21, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, 10, 10].backward()
    assert image.grad is not None
    touched: Tensor = image.grad.abs().sum((0, 1)) > 0
    rows, cols = touched.nonzero().T
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (4, 16, 4, 16)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (7, 2)])
def test_any_sides_are_kept(rows: int, cols: int) -> None:
    network = make()
    assert network(torch.zeros(1, 3, rows, cols, dtype=torch.float64)).shape == (1, 1, rows, cols)
    assert (network.stride, network.scale) == (1, 1)


def test_the_model_s_width_is_taken_and_a_negative_one_refused() -> None:
    name = "shallow-net"
    assert build(Model(name=name, width=8), 3, 1).head.in_channels == 8  # type: ignore[arg-type]
    assert build(Model(name=name), 3, 1).head.in_channels == 64  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match="width -1"):
        build(Model(name=name, width=-1), 3, 1)  # type: ignore[arg-type]
