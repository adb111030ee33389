"""What every network promises, whatever its name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from buildmap.models import MODELS, build_model
from buildmap.models.checkpoint import load_checkpoint, save_checkpoint
from buildmap.preset import Model
from tests.networks import make_card

SMALL = {
    "lite": Model(name="lite", width=4, depth=2),
    "lite at full resolution": Model(name="lite", width=4, depth=2, stem_stride=1),
    "lite at quarter resolution": Model(name="lite", width=4, depth=3, stem_stride=4),
    "unet": Model(name="unet", encoder="mobilenetv3_small_050"),
}
networks = pytest.mark.parametrize("model", SMALL.values(), ids=SMALL.keys())


def make(model: Model) -> nn.Module:
    torch.manual_seed(0)
    return build_model(model, bands=3, classes=1)


def test_every_network_is_tested_here() -> None:
    assert {model.name for model in SMALL.values()} == set(MODELS)


@networks
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 2), (1, 5)])
def test_logits_are_as_large_as_any_image_of_whole_strides(model: Model, rows: int, cols: int) -> None:
    network = build_model(model, bands=3, classes=1).eval()
    shape = rows * network.stride, cols * network.stride
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, *shape)).shape == (2, 1, *shape)


@networks
def test_bands_and_classes_may_differ_from_three_and_one(model: Model) -> None:
    network = build_model(model, bands=5, classes=2).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(1, 5, network.stride, network.stride))
    assert logits.shape == (1, 2, network.stride, network.stride)


@networks
def test_the_gradient_reaches_every_parameter(model: Model) -> None:
    network = make(model)
    side = 2 * int(network.stride)  # type: ignore[arg-type]
    network(torch.randn(2, 3, side, side)).square().sum().backward()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


@networks
def test_moving_the_image_by_a_stride_moves_the_logits(model: Model) -> None:
    network = make(model).eval()
    stride = int(network.stride)  # type: ignore[arg-type]
    image = torch.zeros(1, 3, 11 * stride, 11 * stride)
    image[..., 5 * stride : 6 * stride, 5 * stride : 6 * stride] = torch.rand(stride, stride)
    with torch.inference_mode():
        here = network(image)
        there = network(image.roll((stride, stride), (2, 3)))
    before = here[..., 4 * stride : 7 * stride, 4 * stride : 7 * stride]
    after = there[..., 5 * stride : 8 * stride, 5 * stride : 8 * stride]
    assert before.std() > 0
    assert (after - before).abs().max() < 0.01 * (before.max() - before.min())


@networks
def test_saving_and_loading_gives_the_same_logits(model: Model, tmp_path: Path) -> None:
    network = make(model)
    side = 2 * int(network.stride)  # type: ignore[arg-type]
    image = torch.randn(2, 3, side, side)
    network(image)  # running means other than the initial ones
    save_checkpoint(
        tmp_path / "m.safetensors", network.state_dict(), make_card(model=model, stride=network.stride)
    )
    loaded, card = load_checkpoint(tmp_path / "m.safetensors")
    assert card.model == model
    with torch.inference_mode():
        assert torch.equal(loaded(image), network.eval()(image))
