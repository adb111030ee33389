"""The shipped models are those that were measured, and a damaged or wrong one is found."""

import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from buildmap.checks import networks
from buildmap.checks.fact import examine
from buildmap.inference import backend
from buildmap.inference.backend import BackendOptions, builtin_model, load_backend


def _elsewhere(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """Let the package lie in another folder."""
    monkeypatch.setattr(backend, "builtin_model", lambda: model)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in networks.ANSWERS:
        shutil.copy(builtin_model().with_name(name), tmp_path)
    model = tmp_path / builtin_model().name
    _elsewhere(monkeypatch, model)
    return model


def test_the_answers_are_those_of_the_shipped_models() -> None:
    shipped = sorted(builtin_model().parent.glob("*.onnx"))
    measured = {
        model.name: networks.Answer(
            sha256=networks.hash_of(model),
            probability=round(float(load_backend(model).probability(networks.village(256)[None]).mean()), 4),
        )
        for model in shipped
    }
    for name, answer in measured.items():
        known = networks.ANSWERS.get(name)
        assert known is not None and known.sha256 == answer.sha256, f"ANSWERS is now {measured}"
        assert known.probability == pytest.approx(answer.probability, abs=0.002), f"ANSWERS is now {measured}"
    assert networks.ANSWERS.keys() == measured.keys()


def test_the_drawing_is_one_of_houses() -> None:
    probability = load_backend(builtin_model()).probability(networks.village(256)[None])[0]
    roofs = np.zeros((256, 256), bool)
    for top in (24, 88, 152):
        for left in (24, 88, 152):
            roofs[top : top + 36, left : left + 40] = True
    assert probability[roofs].mean() > 0.8
    assert probability[~roofs].mean() < 0.2


def test_the_built_in_model_runs_and_is_right() -> None:
    told = networks.builtin_model_runs()
    assert (told.status, told.hint) == ("ok", None)
    assert {fact.status for fact in networks.shipped_models()} == {"ok"}


def test_a_network_that_computes_otherwise_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def shaded(model: Path, options: BackendOptions = backend.DEFAULTS) -> object:
        loaded = load_backend(model, options)
        return _Altered(loaded.probability, loaded.device)

    monkeypatch.setattr(backend, "load_backend", shaded)
    told = networks.builtin_model_runs()
    assert told.status == "failed"


class _Altered:
    def __init__(self, probability: object, device: str) -> None:
        self._probability, self.device = probability, device

    def probability(self, images: object) -> object:
        return self._probability(images) * 0.97  # type: ignore[operator]


def test_a_network_of_nan_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    altered = _Altered(lambda _: np.full((1, 256, 256), np.nan), "cpu")
    monkeypatch.setattr(backend, "load_backend", lambda _: altered)
    assert networks.builtin_model_runs().status == "failed"


def test_a_model_file_with_one_changed_byte_is_damaged(copied: Path) -> None:
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    told = networks.shipped_models()[0]
    assert told.status == "failed"
    assert f"{copied} is damaged" in told.detail
    assert told.hint is not None and "reinstall" in told.hint


def test_a_truncated_model_is_a_fact_and_no_traceback(copied: Path) -> None:
    copied.write_bytes(copied.read_bytes()[:100_000])
    (told,) = examine("built-in model", networks.builtin_model_runs)
    assert (told.name, told.status) == ("built-in model", "failed")
    assert str(copied) in told.detail


def test_a_model_that_is_not_there_is_said_to_be_so(copied: Path) -> None:
    copied.unlink()
    assert "is not there" in networks.shipped_models()[0].detail
    (told,) = examine("built-in model", networks.builtin_model_runs)
    assert (told.status, "does not exist" in told.detail) == ("failed", True)


def test_onnxruntime_without_cuda_beside_a_gpu_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for providers, gpus, status in [
        (["CPUExecutionProvider"], None, "ok"),
        (["CPUExecutionProvider"], ("a GPU",), "warning"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], ("a GPU",), "ok"),
    ]:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda providers=providers: providers)
        told = networks.onnxruntime(gpus)
        assert told.status == status
        assert told.detail.startswith(f"{onnxruntime.__version__}: {providers[0][:3]}")


def test_looking_at_onnxruntime_does_not_make_it_report_to_its_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    networks.onnxruntime(None)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
