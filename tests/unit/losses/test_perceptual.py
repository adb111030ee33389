"""The perceptual loss against torchvision's VGG19, and where its weights come from."""

import math
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from safetensors.torch import save_file
from torch import Tensor, nn

from buildmap.errors import InputError, MismatchError, MissingInput, ResourceError
from buildmap.losses import perceptual
from buildmap.losses.perceptual import VGG19_URL, Perceptual, build_perceptual, vgg19_features

RECIPE = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
"""Real-ESRGAN's published weights."""


@pytest.fixture(scope="module")
def vgg19() -> nn.Sequential:
    """Torchvision's layers with random weights and biases, nothing overwritten in place."""
    torch.manual_seed(0)
    with torch.device("meta"):
        layers: nn.Sequential = torchvision.models.vgg19(weights=None).features
    layers.to_empty(device="cpu")
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, 0, 0.1)
    return layers.requires_grad_(False)


@pytest.fixture(scope="module")
def weights(vgg19: nn.Sequential) -> dict[str, Tensor]:
    """The same weights under the names of torchvision's file, and a classifier's."""
    tensors = {f"features.{name}": tensor for name, tensor in vgg19.state_dict().items()}
    return tensors | {"classifier.0.weight": torch.zeros(4, 4), "classifier.0.bias": torch.zeros(4)}


@pytest.fixture(scope="module")
def path(weights: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(dict(weights), file)
    return file


@pytest.fixture(scope="module")
def loss(path: Path) -> Perceptual:
    return build_perceptual(str(path))


def named_layers(layers: nn.Sequential) -> dict[str, int]:
    """Give the place of every convolution by VGG's own names: conv<resolution>_<count>."""
    names, resolution, count = {}, 1, 0
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            count += 1
            names[f"conv{resolution}_{count}"] = place
        elif isinstance(layer, nn.MaxPool2d):
            resolution, count = resolution + 1, 0
    return names


def compared(layers: nn.Sequential, picture: Tensor, truth: Tensor) -> Tensor:
    """Sum the recipe's mean absolute differences of torchvision's features, before rectification."""
    places = named_layers(layers)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    one, other = ((image - mean[:, None, None]) / std[:, None, None] for image in (picture, truth))
    total = torch.zeros(())
    for name, weight in RECIPE.items():
        upto = layers[: places[name] + 1]
        total = total + weight * (upto(one) - upto(other)).abs().mean()
    return total


def scene() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    picture, truth = (torch.rand(2, 3, 32, 48, generator=generator) for _ in range(2))
    return picture, truth, torch.ones(2, 32, 48, dtype=torch.bool)


def test_layers_and_weights_are_those_of_the_recipe(vgg19: nn.Sequential, loss: Perceptual) -> None:
    picture, truth, valid = scene()
    expected = compared(vgg19, picture, truth)
    assert expected > 0.1
    torch.testing.assert_close(loss(picture, truth, valid), expected, rtol=1e-4, atol=0)


def test_the_gradient_is_that_of_the_recipe_and_the_truth_has_none(
    vgg19: nn.Sequential, loss: Perceptual
) -> None:
    picture, truth, valid = scene()
    picture.requires_grad_()
    truth.requires_grad_()
    (expected,) = torch.autograd.grad(compared(vgg19, picture, truth), picture)
    loss(picture, truth, valid).backward()
    assert truth.grad is None
    assert picture.grad is not None
    assert (picture.grad - expected).abs().max() < 1e-3 * expected.abs().max()


def test_what_sees_is_frozen_and_in_nobody_s_optimizer(loss: Perceptual) -> None:
    assert [name for name, p in loss.named_parameters() if p.requires_grad] == []
    assert sum(p.numel() for p in loss.parameters()) == 20_024_384  # of all of VGG19's convolutions


def test_the_same_picture_has_no_loss(loss: Perceptual) -> None:
    picture, _, valid = scene()
    assert loss(picture, picture.clone(), valid).item() == 0


@pytest.mark.parametrize("junk", [0.3, math.nan])
def test_what_stands_in_invalid_pixels_changes_neither_value_nor_gradient(
    loss: Perceptual, junk: float
) -> None:
    picture, truth, valid = scene()
    valid[0, :, 20:] = False
    plain = picture.clone().requires_grad_()
    spoiled = torch.where(valid[:, None], picture, junk).requires_grad_()
    (expected,) = torch.autograd.grad(loss(plain, truth, valid), plain)
    value = loss(spoiled, torch.where(valid[:, None], truth, junk), valid)
    (gradient,) = torch.autograd.grad(value, spoiled)
    assert torch.equal(value, loss(picture, truth, valid))
    assert torch.equal(gradient, expected)
    assert not gradient[0, :, :, 20:].any()
    assert gradient[0, :, :, :20].any()


def test_no_valid_pixel_is_no_loss(loss: Perceptual) -> None:
    picture, truth, valid = scene()
    assert loss(picture, truth, torch.zeros_like(valid)).item() == 0


def test_lower_precision_sees_nearly_the_same_and_is_summed_in_single(loss: Perceptual) -> None:
    picture, truth, valid = scene()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rough = loss(picture.bfloat16(), truth, valid)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(loss(picture, truth, valid).item(), rel=0.02)


def test_weights_are_found_in_a_file_of_torch_too(
    weights: Mapping[str, Tensor], loss: Perceptual, tmp_path: Path
) -> None:
    torch.save(dict(weights), tmp_path / "vgg19-dcbb9e9d.pth")
    found = build_perceptual(str(tmp_path / "vgg19-dcbb9e9d.pth")).state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in loss.state_dict().items())


def test_the_address_is_torchvision_s() -> None:
    assert torchvision.models.VGG19_Weights.IMAGENET1K_V1.url == VGG19_URL


def test_the_name_downloads_the_weights_and_has_their_digest_checked(
    weights: dict[str, Tensor], loss: Perceptual, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object, object]] = []

    def download(url: str, **how: object) -> dict[str, Tensor]:
        asked.append((url, how["check_hash"], how["weights_only"]))
        return weights

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    found = build_perceptual("vgg19").state_dict()
    assert asked == [(VGG19_URL, True, True)]
    assert all(torch.equal(tensor, found[name]) for name, tensor in loss.state_dict().items())


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_without_a_download_both_ways_on_are_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr(perceptual, "vgg19_features", nn.Sequential)
    with pytest.raises(ResourceError, match=r"VGG19: .*(no route|invalid hash)") as caught:
        build_perceptual("vgg19")
    assert caught.value.hint is not None
    assert "vgg19-dcbb9e9d.pth" in caught.value.hint
    assert "weight of 0" in caught.value.hint


def test_a_missing_file_and_a_file_of_text_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "vgg19_features", nn.Sequential)
    with pytest.raises(MissingInput, match=r"absent\.pth do not exist"):
        build_perceptual(str(tmp_path / "absent.pth"))
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(InputError, match="holds no encoder weights"):
        build_perceptual(str(tmp_path / "text.pth"))


def test_another_network_s_weights_are_refused_with_what_differs(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = {f"features.{name}": tensor for name, tensor in vgg19_features().state_dict().items()}
    others = {name: torch.zeros(1) for name in names if not name.startswith("features.34")}
    save_file(others, tmp_path / "vgg16.safetensors")
    with pytest.raises(MismatchError, match=r"0.weight is \(1,\), not \(64, 3, 3, 3\)") as caught:
        build_perceptual(str(tmp_path / "vgg16.safetensors"))
    assert caught.value.hint is not None
    assert "vgg19" in caught.value.hint
