"""Generator and discriminator: the published sizes, first weights and figures, layer by layer."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.ndimage import map_coordinates
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils import parametrize

from buildmap.errors import MismatchError
from buildmap.models.esrgan import Discriminator, Generator, build
from buildmap.preset import Model


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def leaky(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 0.2 * values)


def convolved(values: Tensor, weights: Iterator[Tensor]) -> Tensor:
    return conv2d(values, next(weights), next(weights), padding=1)


def doubled(values: Tensor) -> Tensor:
    return values.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def between(values: Tensor) -> Tensor:
    """Double the sides, read off between pixel centres; beyond the outermost ones, the nearest."""
    rows, cols = ((np.arange(2 * length) + 0.5) / 2 - 0.5 for length in values.shape[2:])
    at = np.meshgrid(rows, cols, indexing="ij")
    read = [[map_coordinates(one, at, order=1, mode="nearest") for one in image] for image in values.numpy()]
    return torch.from_numpy(np.array(read))


def drawn(image: Tensor, weights: Iterator[Tensor], depth: int) -> Tensor:
    """Wang et al. (2018), figures 3 and 4, upsampling as in the published code."""
    features = x = convolved(image, weights)
    for _ in range(depth):
        block = x
        for _ in range(3):
            dense = [x]
            for _ in range(4):
                dense.append(leaky(convolved(torch.cat(dense, 1), weights)))
            x = x + 0.2 * convolved(torch.cat(dense, 1), weights)
        x = block + 0.2 * x
    x = features + convolved(x, weights)
    for _ in range(2):
        x = leaky(convolved(doubled(x), weights))
    return convolved(leaky(convolved(x, weights)), weights)


def judged(picture: Tensor, weights: list[Tensor]) -> Tensor:
    """Wang et al. (2021), figure 6; every weight but the first and last over its largest singular value."""
    first, first_bias, *middle, last, last_bias = weights
    middle = [one / torch.linalg.svdvals(one.flatten(1))[0] for one in middle]
    skips = [leaky(conv2d(picture, first, first_bias, padding=1))]
    for weight in middle[:3]:
        skips.append(leaky(conv2d(skips[-1], weight, stride=2, padding=1)))
    x = skips[3]
    for weight, skip in zip(middle[3:6], (skips[2], skips[1], skips[0]), strict=True):
        x = leaky(conv2d(between(x), weight, padding=1)) + skip
    for weight in middle[6:]:
        x = leaky(conv2d(x, weight, padding=1))
    return conv2d(x, last, last_bias, padding=1)


def settled(discriminator: Discriminator) -> Discriminator:
    """Let the power iterations find the largest singular values."""
    with torch.no_grad():
        for _ in range(300):
            for module in discriminator.modules():
                if parametrize.is_parametrized(module):
                    _ = module.weight
    return discriminator.eval()


def test_the_published_networks_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert count(Generator(3)) == 16_697_987
        assert count(Discriminator()) == 4_376_897


@pytest.mark.parametrize("bands", [1, 4, 16])
def test_another_number_of_bands_changes_the_first_convolution_alone(bands: int) -> None:
    with torch.device("meta"):
        assert count(Generator(bands)) - count(Generator(3)) == (bands - 3) * 64 * 9


@pytest.mark.parametrize(("bands", "colours"), [(1, 3), (3, 3), (16, 2)])
def test_the_picture_is_that_of_the_figures(bands: int, colours: int) -> None:
    torch.manual_seed(0)
    generator = Generator(bands, colours, width=6, depth=2).double()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.normal_(0, 0.2)  # fresh dense blocks hardly have a say
        image = torch.randn(2, bands, 5, 7, dtype=torch.float64)
        expected = drawn(image, iter(list(generator.parameters())), depth=2)
        assert expected.shape == (2, colours, 20, 28)
        assert expected.std() > 0.01
        torch.testing.assert_close(generator(image), expected)


def test_dense_blocks_start_with_a_tenth_of_he_s_weights_and_without_biases() -> None:
    torch.manual_seed(0)
    generator = Generator(3, width=32, depth=2)
    blocks = [one for name, one in generator.body.named_modules() if "convs." in name]
    assert len(blocks) == 2 * 3 * 5
    for conv in blocks:
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        assert not conv.bias.any()
        expected = 0.1 * math.sqrt(2 / conv.weight[0].numel())
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
    others = [one for one in (generator.first, generator.body[-1], *generator.last) if hasattr(one, "bias")]
    assert all(isinstance(conv.bias, Tensor) and conv.bias.any() for conv in others)


def test_moving_the_image_by_a_pixel_moves_the_picture_by_four() -> None:
    torch.manual_seed(0)
    generator = Generator(3, width=4, depth=1)
    reach = 1 + 15 + 1 + 1  # convolutions, in image pixels, rounded up
    image = torch.zeros(1, 3, 4 * reach, 4 * reach)
    image[..., 2 * reach, 2 * reach] = torch.rand(3)
    with torch.inference_mode():
        here, there = generator(image), generator(image.roll((1, 2), (2, 3)))
    near, far = 4 * reach, 12 * reach  # beyond, the border is felt
    before = here[..., near : far - 8, near : far - 8]
    after = there[..., near + 4 : far - 4, near + 8 : far]
    assert before.std() > 0
    assert (after - before).abs().max() < 1e-4 * (before.max() - before.min())
    assert (generator.stride, generator.scale) == (1, 4)


def test_the_discriminator_is_that_of_the_figure_with_every_convolution_unstretched() -> None:
    torch.manual_seed(0)
    discriminator = settled(Discriminator(width=4).double())
    weights = list(discriminator.parameters())
    named = [name for name, _ in discriminator.named_parameters()]
    order = sorted(
        range(len(named)),
        key=lambda at: ("first", "down", "up", "extra", "last").index(named[at].split(".")[0]),
    )
    picture = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    with torch.inference_mode():
        logits = discriminator(picture)
        expected = judged(picture, [weights[at] for at in order])
    assert logits.shape == (2, 1, 24, 16)
    assert expected.std() > 1e-4
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-9)


def test_every_convolution_between_the_first_and_the_last_stretches_nothing() -> None:
    torch.manual_seed(0)
    discriminator = settled(Discriminator(width=4))
    stretched = [
        torch.linalg.svdvals(module.weight.flatten(1))[0].item()
        for module in discriminator.modules()
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module)
    ]
    assert stretched == pytest.approx([1.0] * 8, abs=1e-4)


def test_a_discriminator_goes_through_a_file_and_on_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    discriminator, other = Discriminator(width=4), Discriminator(width=4)
    picture = torch.rand(2, 3, 16, 16)
    discriminator(picture)
    save_file(discriminator.state_dict(), tmp_path / "d.safetensors")
    assert not torch.equal(other(picture), discriminator.eval()(picture))
    other.load_state_dict(load_file(tmp_path / "d.safetensors"))
    discriminator.train()
    for _ in range(2):  # the power iterations go on from where they were
        assert torch.equal(other(picture), discriminator(picture))


def test_evaluation_leaves_the_power_iterations_where_they_are_and_training_does_not() -> None:
    torch.manual_seed(0)
    discriminator, picture = Discriminator(width=4), torch.rand(1, 3, 8, 8)

    def vectors() -> list[Tensor]:
        return [buffer.clone() for buffer in discriminator.buffers()]

    before = vectors()
    discriminator.eval()(picture)
    assert all(map(torch.equal, before, vectors()))
    discriminator.train()(picture)
    assert not all(map(torch.equal, before, vectors()))


@pytest.mark.parametrize("network", [Generator(3, width=4, depth=1), Discriminator(width=4)])
def test_the_gradient_reaches_every_parameter_and_the_image(network: nn.Module) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    network(image).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert image.grad is not None
    assert image.grad.any()


def test_the_discriminator_learns_from_two_pictures_at_once() -> None:
    """Its power iterations may not spoil what the first picture's gradient needs."""
    torch.manual_seed(0)
    discriminator = Discriminator(width=4)
    both = [discriminator(torch.rand(1, 3, 8, 8)).mean() for _ in range(2)]
    (both[0] - 2 * both[1]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in discriminator.parameters())


def test_lower_precision_is_close_and_keeps_the_singular_vectors_exact() -> None:
    torch.manual_seed(0)
    discriminator, picture = settled(Discriminator(width=8)), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        exact = discriminator(picture)
        with torch.autocast("cpu", torch.bfloat16):
            rough = discriminator.train()(picture)
    assert rough.dtype == torch.bfloat16
    assert {buffer.dtype for buffer in discriminator.buffers()} == {torch.float32}
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_model_s_width_and_depth_are_the_generator_s_and_absent_ones_the_published() -> None:
    name = "esrgan"
    with torch.device("meta"):
        small = build(Model(name=name, width=16, depth=6), 4, 3)  # type: ignore[arg-type]
        assert count(small) == count(Generator(4, width=16, depth=6))
        assert count(build(Model(name=name), 3, 3)) == 16_697_987  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [{"width": 7}, {"width": -2}, {"depth": -1}])
def test_a_generator_of_odd_width_or_without_blocks_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(MismatchError, match=r"model esrgan cannot have width -?\d+ and depth -?\d+"):
        build(Model(name="esrgan", **sizes), 3, 3)  # type: ignore[arg-type]
