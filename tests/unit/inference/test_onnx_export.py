"""ONNX export: the same probabilities, any size and batch, the same card."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from buildmap.errors import MismatchError
from buildmap.inference.deepness import deepness_keys
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.inference.onnx_export import export_onnx, largest_difference
from buildmap.models import build_model
from buildmap.preset import Model
from tests.networks import make_card

MODELS = {
    "lite": Model(name="lite", width=4, depth=3),
    "lite at full resolution": Model(name="lite", width=4, depth=2, stem_stride=1),
    "unet": Model(name="unet", encoder="resnet18"),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_onnx_equals_torch_at_other_sizes_than_it_was_traced_at(tmp_path: Path, model: Model) -> None:
    torch.manual_seed(0)
    network = build_model(model, 3, 1).eval()
    card = make_card(model=model, stride=network.stride)
    export_onnx(network, card, tmp_path / "m.onnx")
    assert largest_difference(network, card, tmp_path / "m.onnx") < 1e-5
    backend = OnnxBackend(tmp_path / "m.onnx")
    assert backend.card == card
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert told.items() >= deepness_keys(card).items()
    stored = (tmp_path / "m.onnx").read_bytes()
    assert b"site-packages" not in stored  # nothing of the author's disk
    assert str(Path(torch.__file__).parent).encode() not in stored
    images = np.random.default_rng(0).standard_normal((3, 3, 96, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(backend.logits(images), expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_finer_network_stays_finer_at_any_size(tmp_path: Path, mode: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Upsample(scale_factor=4, mode=mode)).eval()
    card = make_card(scale=4)
    export_onnx(network, card, tmp_path / "m.onnx")
    assert largest_difference(network, card, tmp_path / "m.onnx") < 1e-5
    backend = OnnxBackend(tmp_path / "m.onnx")
    assert backend.card == card
    assert backend.logits(np.zeros((2, 3, 48, 16), np.float32)).shape == (2, 1, 192, 64)


def test_another_networks_file_is_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = make_card(model=MODELS["lite"], stride=8)
    export_onnx(build_model(MODELS["lite"], 3, 1), card, tmp_path / "m.onnx")
    assert largest_difference(build_model(MODELS["lite"], 3, 1), card, tmp_path / "m.onnx") > 1e-3


def test_a_network_that_onnx_would_fix_to_one_size_is_refused(tmp_path: Path) -> None:
    card = make_card(model=Model(name="upernet"), stride=32)
    with pytest.raises(MismatchError, match="upernet") as caught:
        export_onnx(build_model(MODELS["lite"], 3, 1), card, tmp_path / "m.onnx")
    assert caught.value.hint is not None and ".safetensors" in caught.value.hint
    assert not (tmp_path / "m.onnx").exists()
