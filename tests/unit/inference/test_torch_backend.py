"""torch as a backend gives what the network gives, and what onnxruntime's arithmetic gives."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from buildmap.errors import MismatchError, ResourceError
from buildmap.inference.devices import BackendOptions
from buildmap.inference.torch_backend import TorchBackend, open_torch
from buildmap.models import build_model
from buildmap.models.checkpoint import save_checkpoint
from buildmap.preset import Model
from buildmap.raster.blend import ONE, weigh
from buildmap.raster.normalize import scale_pixels
from tests.networks import make_card

MODEL = Model(name="lite", width=4, depth=3)
CARD = make_card(model=MODEL, stride=8)
CPU = BackendOptions(device="cpu", threads=1)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def trained(model: Model = MODEL) -> nn.Module:
    """Make a network whose normalizations do something."""
    torch.manual_seed(0)
    network = build_model(model, 3, 1).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.bias)
    return network


@pytest.fixture
def backend() -> TorchBackend:
    return TorchBackend(trained(), CARD, CPU)


def test_logits_are_the_networks(tmp_path: Path) -> None:
    network = trained()
    save_checkpoint(tmp_path / "m.safetensors", network.state_dict(), CARD)
    images = RNG.standard_normal((2, 3, 16, 24)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    backend = open_torch(tmp_path / "m.safetensors", CPU)
    np.testing.assert_allclose(backend.logits(images), expected, atol=1e-5)
    assert backend.card.stride == 8
    assert (backend.device, backend.batch) == ("cpu", 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_are_scaled_and_summands_rounded_as_numpy_does_it(backend: TorchBackend, dtype: str) -> None:
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    images = (RNG.random((2, 3, 24, 16)) * top).astype(dtype)
    untouched = images.copy()
    logits = backend.logits(scale_pixels(images, CARD.data))[:, 0]
    probability = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(backend.probability(images), probability, atol=1e-6)
    weights = RNG.random((20, 16)).astype(np.float32)
    found = backend.contributions(images, (slice(4, 24), slice(0, 16)), weights)
    np.testing.assert_array_equal(images, untouched)
    assert found.dtype == np.uint16
    assert found.max() > 2**15
    expected = weigh(probability[:, 4:], weights)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_images_that_cannot_be_written_to_are_taken_as_well(backend: TorchBackend) -> None:
    images = RNG.integers(0, 255, (1, 3, 16, 16), np.uint8)
    expected = backend.probability(images.copy())
    images.flags.writeable = False
    np.testing.assert_array_equal(backend.probability(images), expected)
    np.testing.assert_array_equal(backend.probability(images[..., ::-1][..., ::-1]), expected)


def test_bits_do_not_depend_on_threads_or_lanes() -> None:
    images = RNG.integers(0, 255, (4, 3, 64, 96), np.uint8)
    results = [
        TorchBackend(trained(), CARD, replace(CPU, threads=threads, lanes=1)).probability(images)
        for threads in (1, 3)
    ]
    shared = TorchBackend(trained(), CARD, replace(CPU, threads=2))
    assert shared.lanes == 2
    with ThreadPoolExecutor(2) as lanes:
        results.append(np.concatenate(list(lanes.map(shared.probability, images[:, None]))))
    assert len({result.tobytes() for result in results}) == 1


class Cramped(nn.Module):
    """Has memory for two windows at once."""

    def forward(self, image: Tensor) -> Tensor:
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        return image[:, :1]


class Finer(nn.Module):
    """Enlarges the mean of the bands."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=scale, mode="bilinear")

    def forward(self, image: Tensor) -> Tensor:
        return self.enlarge(image.mean(1, keepdim=True))


def test_a_finer_network_gives_finer_probability_and_is_cut_in_its_own_pixels() -> None:
    card = make_card(scale=4)
    backend = TorchBackend(Finer(4), card, replace(CPU, batch=2))
    images = RNG.integers(0, 255, (3, 3, 16, 32), np.uint8)
    mean = torch.from_numpy(scale_pixels(images, card.data)).mean(1, keepdim=True)
    logits = nn.functional.interpolate(mean, scale_factor=4, mode="bilinear")[:, 0]
    expected = logits.sigmoid().numpy()
    np.testing.assert_allclose(backend.probability(images), expected, atol=1e-6)
    weights = RNG.random((50, 90)).astype(np.float32)
    found = backend.contributions(images, (slice(3, 53), slice(30, 120)), weights)
    assert np.abs(found - ONE * weights * expected[:, 3:53, 30:120]).max() < 1.01


@pytest.mark.parametrize(("does", "says"), [(1, 4), (4, 1), (2, 4)])
def test_a_network_of_another_scale_than_its_card_says_is_refused(does: int, says: int) -> None:
    network = Finer(does) if does > 1 else trained()
    told = f"'bright is building' gives {32 * does} x {32 * does} for an image of 32 x 32; .* scale {says}"
    with pytest.raises(MismatchError, match=told):
        TorchBackend(network, make_card(scale=says), CPU)


def test_memory_that_runs_out_in_the_middle_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    images = RNG.integers(0, 255, (7, 3, 16, 16), np.uint8)
    backend = TorchBackend(Cramped(), CARD, replace(CPU, batch=7))
    with caplog.at_level(logging.WARNING, "buildmap"):
        found = backend.probability(images)
    expected = TorchBackend(Cramped(), CARD, CPU).probability(images)
    np.testing.assert_array_equal(found, expected)
    assert backend.batch == 1
    assert len(caplog.records) == 2


def test_lanes_follow_the_memory_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildmap.inference.torch_device.window_bytes", lambda _run, _card: 200 * 10**6)
    options = replace(CPU, lanes=3, max_memory_bytes=450 * 10**6)
    assert TorchBackend(trained(), CARD, options).lanes == 2
    with pytest.raises(ResourceError, match="needs 200 MB for one window, 100 MB are left"):
        TorchBackend(trained(), CARD, replace(options, max_memory_bytes=10**8))


def test_bf16_is_near_and_fp16_is_refused_on_a_cpu(backend: TorchBackend) -> None:
    images = RNG.integers(0, 255, (1, 3, 16, 16), np.uint8)
    halved = TorchBackend(trained(), CARD, replace(CPU, precision="bf16")).probability(images)
    assert 0 < np.abs(halved - backend.probability(images)).max() < 0.05
    with pytest.raises(ResourceError, match="precision fp16 asked for"):
        TorchBackend(trained(), CARD, replace(CPU, precision="fp16"))
