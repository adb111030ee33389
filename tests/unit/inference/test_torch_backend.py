"""torch as a backend gives what the network gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from buildmap.errors import ResourceError
from buildmap.inference.torch_backend import TorchBackend
from buildmap.models import build_model
from buildmap.models.checkpoint import save_checkpoint
from buildmap.preset import Model
from tests.networks import make_card

MODEL = Model(name="lite", width=4, depth=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = make_card(model=MODEL, stride=8)
    save_checkpoint(tmp_path / "m.safetensors", build_model(MODEL, 3, 1).state_dict(), card)
    return tmp_path / "m.safetensors"


def test_logits_are_the_networks(model: Path) -> None:
    torch.manual_seed(0)
    network = build_model(MODEL, 3, 1).eval()
    images = np.random.default_rng(0).standard_normal((2, 3, 16, 24)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    backend = TorchBackend(model, device="cpu")
    np.testing.assert_allclose(backend.logits(images), expected, atol=1e-5)
    assert backend.card.stride == 8


def test_a_gpu_that_is_not_there_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TorchBackend(model).device == "cpu"
    with pytest.raises(ResourceError, match="torch finds no GPU"):
        TorchBackend(model, device="cuda")
