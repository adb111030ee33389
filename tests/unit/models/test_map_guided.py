"""A segmenter on a generator's picture, or on the enlarged image: logits at four times the scale."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from safetensors.torch import load_file, save_file
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from buildmap.errors import MismatchError
from buildmap.models.esrgan import Generator
from buildmap.models.map_guided import PAIRS, MapGuided, adopt_generator, build
from buildmap.models.shallow_net import ShallowNet
from buildmap.preset import Model
from tests.models.small_encoders import RESNET, register
from tests.unit.models.blocks.parity import largest_difference_exported

register()

pairs = pytest.mark.parametrize("name", PAIRS)
STRIDES = {
    "map-guided-deeplabv3": 2,
    "map-guided-shallow-net": 1,
    "enlarged-deeplabv3": 2,
    "enlarged-shallow-net": 1,
}


def small(name: str, bands: int = 3, classes: int = 1, output_stride: int | None = None) -> MapGuided:
    torch.manual_seed(2)
    sizes = {"width": 4, "depth": 1} if PAIRS[name].generator else {}
    encoder = RESNET if "deeplab" in name else None
    model = Model(name=name, encoder=encoder, output_stride=output_stride, **sizes)  # type: ignore[arg-type]
    network = build(model, bands, classes)
    for part, parameter in network.named_parameters():
        if part.startswith("front") and parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)  # fresh dense blocks hardly have a say
        elif not part.endswith("bias") and not parameter.any():
            nn.init.uniform_(parameter, 0.1, 0.5)  # nor residual branches of the encoder
    return network


def normalized(network: MapGuided) -> MapGuided:
    """Give it running means other than the initial ones."""
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(4, 3, 16, 16))
    return network.eval()


def enlarged(image: Tensor) -> Tensor:
    """Read off between pixel centres; beyond the outermost ones, the nearest."""
    rows, cols = ((np.arange(4 * length) + 0.5) / 4 - 0.5 for length in image.shape[2:])
    at = np.meshgrid(rows, cols, indexing="ij")
    read = [[map_coordinates(one, at, order=1, mode="nearest") for one in bands] for bands in image.numpy()]
    return torch.from_numpy(np.array(read))


@pairs
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 2)])
def test_logits_are_four_times_as_large_as_any_image_of_whole_strides(
    name: str, rows: int, cols: int
) -> None:
    network = small(name, bands=5, classes=2).eval()
    rows, cols = rows * network.stride, cols * network.stride
    with torch.inference_mode():
        assert network(torch.zeros(2, 5, rows, cols)).shape == (2, 2, 4 * rows, 4 * cols)
    assert (network.stride, network.scale) == (STRIDES[name], 4)


@pytest.mark.parametrize(("output_stride", "stride"), [(8, 2), (16, 4)])
def test_the_image_s_stride_is_a_quarter_of_the_segmenter_s(output_stride: int, stride: int) -> None:
    network = small("map-guided-deeplabv3", output_stride=output_stride)
    assert network.segmenter.stride == output_stride
    assert network.stride == stride


@pytest.mark.parametrize("stride", [1, 2, 3, 6, 32])
def test_whole_strides_of_the_image_are_whole_strides_of_the_segmenter(stride: int) -> None:
    segmenter = ShallowNet(3, 1, width=1)
    segmenter.stride = stride
    joint = MapGuided(front=nn.Identity(), segmenter=segmenter)
    fitting = [side for side in range(1, 100) if 4 * side % stride == 0]
    assert fitting == list(range(joint.stride, 100, joint.stride))


@pytest.mark.parametrize("name", [name for name, pair in PAIRS.items() if pair.generator])
def test_the_segmenter_sees_the_generator_s_picture(name: str) -> None:
    network = small(name, bands=4).eval()
    assert isinstance(network.front, Generator)
    image = torch.randn(2, 4, 8, 6)
    with torch.inference_mode():
        expected = network.segmenter(network.front(image))
        assert expected.std() > 0
        assert torch.equal(network(image), expected)


@pytest.mark.parametrize("name", [name for name, pair in PAIRS.items() if not pair.generator])
def test_the_reference_sees_the_image_read_off_between_pixel_centres(name: str) -> None:
    network = small(name, bands=4).eval()
    image = torch.randn(2, 4, 8, 6)
    with torch.inference_mode():
        expected = network.segmenter(enlarged(image))
        assert expected.std() > 0
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)


@pairs
def test_the_gradient_of_the_buildings_reaches_every_parameter_of_both(name: str) -> None:
    network = small(name)
    network(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert [part for part, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", [name for name in PAIRS if "shallow" in name])
def test_moving_the_image_by_a_pixel_moves_the_logits_by_four(name: str) -> None:
    network = small(name).eval()
    image = torch.zeros(1, 3, 65, 65)
    image[..., 32, 32] = torch.rand(3)
    with torch.inference_mode():
        here, there = network(image), network(image.roll((1, 2), (2, 3)))
    before, after = here[..., 100:160, 100:160], there[..., 104:164, 108:168]
    assert before.std() > 0
    assert (after - before).abs().max() < 1e-4 * (before.max() - before.min())


def test_a_pair_has_the_generator_and_the_segmenter_of_its_name_in_their_published_sizes() -> None:
    """ESRGAN, and torchvision's DeepLabV3 of two classes without its auxiliary head."""
    with torch.device("meta"):
        for encoder, theirs in (
            ("resnet50", torchvision.models.segmentation.deeplabv3_resnet50),
            ("resnet101", torchvision.models.segmentation.deeplabv3_resnet101),
        ):
            ours = build(Model(name="map-guided-deeplabv3", encoder=encoder), 3, 2)  # type: ignore[arg-type]
            library = theirs(weights=None, weights_backbone=None, num_classes=2)
            expected = 16_697_987 + sum(p.numel() for p in library.parameters())
            assert sum(p.numel() for p in ours.parameters()) == expected


def test_the_segmenter_is_torchvision_s_deeplabv3_weight_for_weight() -> None:
    torch.manual_seed(0)
    library = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=1
    ).eval()
    ours = build(Model(name="enlarged-deeplabv3"), 3, 1).eval()  # type: ignore[arg-type]
    theirs, own = library.state_dict(), ours.segmenter.state_dict()
    assert [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in theirs.values()]
    ours.segmenter.load_state_dict(dict(zip(own, theirs.values(), strict=True)))
    image = torch.randn(1, 3, 16, 24)
    with torch.inference_mode():
        expected = library(enlarged(image))["out"]
        assert expected.std() > 0
        torch.testing.assert_close(ours(image), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("map-guided-shallow-net", marks=pytest.mark.benchmark),
        pytest.param("map-guided-deeplabv3", marks=pytest.mark.benchmark),
        pytest.param("enlarged-shallow-net", marks=pytest.mark.benchmark),
    ],
)
def test_onnx_equals_torch_at_other_sizes(name: str, tmp_path: Path) -> None:
    network = normalized(small(name))
    images = [torch.randn(1, 3, 4, 10), torch.randn(3, 3, 12, 6)]
    assert network(images[0]).std() > 0.01
    worst = largest_difference_exported(network, torch.randn(2, 3, 8, 6), images, tmp_path / "m.onnx")
    assert worst < 1e-4


@pairs
def test_a_joint_model_goes_through_a_file(name: str, tmp_path: Path) -> None:
    network, image = small(name), torch.randn(2, 3, 16, 16)
    network(image)  # running means other than the initial ones
    save_file(network.state_dict(), tmp_path / "m.safetensors")
    other = small(name).eval()
    assert not torch.equal(other(image), network.eval()(image))
    other.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert torch.equal(other(image), network(image))


def test_the_joint_model_goes_on_from_what_a_generator_has_learned() -> None:
    learned, network = Generator(3, width=4, depth=1), small("map-guided-shallow-net")
    segmenter = {name: tensor.clone() for name, tensor in network.segmenter.state_dict().items()}
    image = torch.randn(1, 3, 4, 4)
    assert not torch.equal(network.front(image), learned(image))
    adopt_generator(network, learned)
    assert torch.equal(network.front(image), learned(image))
    assert all(torch.equal(network.segmenter.state_dict()[name], kept) for name, kept in segmenter.items())
    with torch.no_grad():
        next(learned.parameters()).zero_()  # the joint model's are its own
    assert not torch.equal(network.front(image), learned(image))


@pytest.mark.parametrize(
    ("generator", "named"),
    [
        (Generator(4, width=4, depth=1), r"first.weight differ$"),
        (Generator(3, width=4, depth=2), r"body.1.bias, .* and \d+ more differ$"),
    ],
)
def test_a_generator_of_another_size_is_refused_with_what_differs(generator: Generator, named: str) -> None:
    with pytest.raises(MismatchError, match=named) as caught:
        adopt_generator(small("map-guided-shallow-net"), generator)
    assert caught.value.hint == "the same bands, width and depth in both presets"


def test_a_reference_has_no_place_for_a_generator() -> None:
    with pytest.raises(MismatchError, match="no place for a generator"):
        adopt_generator(small("enlarged-shallow-net"), Generator(3, width=4, depth=1))
