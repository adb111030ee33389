"""Choosing a backend by the model's suffix."""

from pathlib import Path

import numpy as np
import pytest

from buildmap.errors import InputError, MissingInput, ResourceError
from buildmap.inference.backend import BackendOptions, builtin_model, load_backend
from buildmap.inference.ensemble import Ensemble
from buildmap.inference.onnx_backend import OnnxBackend
from tests.networks import make_card, write_onnx


def test_onnx_files_run_in_onnxruntime(tmp_path: Path) -> None:
    for name in ("m.onnx", "M.ONNX"):
        assert isinstance(load_backend(write_onnx(tmp_path / name)), OnnxBackend)


def test_the_builtin_model_loads_and_is_small() -> None:
    assert builtin_model().stat().st_size <= 15_000_000
    assert load_backend(builtin_model()).card.classes == ("building",)


def test_missing_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="does not exist"):
        load_backend(tmp_path / "none.onnx")
    (tmp_path / "m.pth").write_bytes(b"\x80\x02")
    with pytest.raises(InputError, match="not a buildmap model"):
        load_backend(tmp_path / "m.pth")


def test_a_torch_model_without_torch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.safetensors").touch()
    monkeypatch.setattr("buildmap.inference.backend.find_spec", lambda _name: None)
    with pytest.raises(ResourceError) as caught:
        load_backend(tmp_path / "m.safetensors")
    assert caught.value.hint is not None
    assert "pip install 'buildmap[torch]'" in caught.value.hint


def test_several_models_and_symmetries_make_an_ensemble(tmp_path: Path) -> None:
    paths = (
        write_onnx(tmp_path / "a.onnx", make_card(fingerprint="a" * 16)),
        write_onnx(tmp_path / "b.onnx", make_card(fingerprint="b" * 16), kernel_px=5),
    )
    both = load_backend(paths)
    assert isinstance(both, Ensemble)
    images = np.random.default_rng(0).integers(0, 255, (1, 3, 32, 48), np.uint8)
    single = [load_backend(path).probability(images) for path in paths]
    np.testing.assert_allclose(both.probability(images), np.mean(single, axis=0), atol=1e-6)
    turned = load_backend(paths[0], BackendOptions(tta="d4"))
    assert isinstance(turned, Ensemble)
    assert turned.card.fingerprint == "a" * 16
    np.testing.assert_allclose(turned.probability(images), single[0], atol=1e-6)
    assert isinstance(load_backend(paths[:1]), OnnxBackend)
