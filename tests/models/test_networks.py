"""What every network promises, whatever its name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from buildmap.inference.onnx_export import export_onnx, largest_difference
from buildmap.models import MODELS, build_model
from buildmap.models.checkpoint import load_checkpoint, save_checkpoint
from buildmap.models.network import Network
from buildmap.preset import Model
from tests.models.networks import SMALL
from tests.networks import make_card

networks = pytest.mark.parametrize("model", SMALL.values(), ids=SMALL.keys())
WHOLE = (
    "pspnet",
    "manet",
    "danet",
    "segformer",
    "upernet",
    "unet-aspp",
    "deeplabv3",
    "deeplabv3plus",
    "map-guided-deeplabv3",
    "enlarged-deeplabv3",
)
"""Networks that look at the whole window at once, so that what lies anywhere in it matters everywhere."""
EXPORTED = (
    "sci-net",
    "unet-aspp",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "manet",
    "segformer",
    "hrnet",
    "hr-mamba",
    "danet",
)
"""Networks whose whole export is tried here, out of the plain run: each takes long.

`lite` and `unet` are exported in the tests of the export, the parts of `hr-mamba` and the pairs of map-guided
cross-training in their own; `upernet` on a Swin transformer cannot be.
"""
LOCAL = {name: model for name, model in SMALL.items() if model.name not in WHOLE and not model.global_branch}


def make(model: Model, *, bands: int = 3, classes: int = 1) -> Network:
    """Build a network whose every part has a say: residual branches and attention may start with none."""
    torch.manual_seed(2)  # with others, MANet's narrowest rectifiers, of two channels, let nothing through
    network = build_model(model, bands=bands, classes=classes)
    for name, parameter in network.named_parameters():
        if not name.endswith("bias") and not parameter.any():
            nn.init.uniform_(parameter, 0.1, 0.5)
    return network


def test_every_network_is_tested_here() -> None:
    assert {model.name for model in SMALL.values()} == set(MODELS)


@networks
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 2), (1, 5)])
def test_logits_are_as_large_as_any_image_of_whole_strides_times_the_scale(
    model: Model, rows: int, cols: int
) -> None:
    network = build_model(model, bands=3, classes=1).eval()
    shape = rows * network.stride, cols * network.stride
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, *shape))
    assert logits.shape == (2, 1, *(network.scale * side for side in shape))


@networks
def test_bands_and_classes_may_differ_from_three_and_one(model: Model) -> None:
    network = build_model(model, bands=5, classes=2).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(1, 5, network.stride, network.stride))
    side = network.scale * network.stride
    assert logits.shape == (1, 2, side, side)


@networks
def test_the_gradient_reaches_every_parameter(model: Model) -> None:
    network = make(model)
    side = max(2 * network.stride, 64)
    network(torch.randn(2, 3, side, side)).square().sum().backward()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


@pytest.mark.parametrize("model", LOCAL.values(), ids=LOCAL.keys())
def test_moving_the_image_by_a_stride_moves_the_logits(model: Model) -> None:
    network = make(model).eval()
    stride, out = network.stride, network.stride * network.scale
    image = torch.zeros(1, 3, 11 * stride, 11 * stride)
    image[..., 5 * stride : 6 * stride, 5 * stride : 6 * stride] = torch.rand(stride, stride)
    with torch.inference_mode():
        here = network(image)
        there = network(image.roll((stride, stride), (2, 3)))
    before = here[..., 4 * out : 7 * out, 4 * out : 7 * out]
    after = there[..., 5 * out : 8 * out, 5 * out : 8 * out]
    assert before.std() > 0
    assert (after - before).abs().max() < 0.01 * (before.max() - before.min())


@networks
def test_saving_and_loading_gives_the_same_logits(model: Model, tmp_path: Path) -> None:
    network = make(model)
    side = max(2 * network.stride, 64)
    image = torch.randn(2, 3, side, side)
    network(image)  # running means other than the initial ones
    save_checkpoint(
        tmp_path / "m.safetensors", network.state_dict(), make_card(model=model, stride=network.stride)
    )
    loaded, card = load_checkpoint(tmp_path / "m.safetensors")
    assert card.model == model
    with torch.inference_mode():
        assert torch.equal(loaded(image), network.eval()(image))


@pytest.mark.benchmark
@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_equals_torch(name: str, tmp_path: Path) -> None:
    network, path = make(SMALL[name]).eval(), tmp_path / "m.onnx"
    card = make_card(model=SMALL[name], stride=network.stride)
    export_onnx(network, card, path)
    assert largest_difference(network, card, path) < 1e-5
