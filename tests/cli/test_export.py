"""`buildmap export`, seen from a shell."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.models import build_model
from buildmap.models.checkpoint import load_checkpoint, save_checkpoint
from buildmap.preset import Model
from tests.networks import make_card

MODEL = Model(name="lite", width=4, depth=2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    card = make_card(model=MODEL, stride=4)
    save_checkpoint(tmp_path / "m.safetensors", build_model(MODEL, 3, 1).state_dict(), card)
    return tmp_path / "m.safetensors"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_onnx_file_says_the_same_of_itself(trained: Path, tmp_path: Path) -> None:
    code, out, _ = run(trained, tmp_path / "m.onnx", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["largest_difference"] < 1e-5
    network, card = load_checkpoint(trained)
    assert summary["parameters"] == sum(p.numel() for p in network.parameters())
    assert OnnxBackend(tmp_path / "m.onnx").card == card


def test_a_model_that_changes_on_export_is_not_published(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.inference.onnx_export.largest_difference", lambda *_: 0.02)
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 78
    assert "differs from torch by 0.02" in err
    assert not (tmp_path / "m.onnx").exists()


def test_what_is_no_model_and_what_exists_are_refused(trained: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    assert run(tmp_path / "pickle.safetensors", tmp_path / "m.onnx")[0] == 65
    (tmp_path / "m.onnx").write_text("old")
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 73
    assert "pass --overwrite" in err
    assert (tmp_path / "m.onnx").read_text() == "old"


def test_without_torch_it_says_what_to_install(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildmap.export.find_spec", lambda _name: None)
    code, _, err = run(trained, tmp_path / "m.onnx")
    assert code == 69
    assert "pip install 'buildmap[torch]'" in err


def test_a_model_under_another_suffix_is_refused(trained: Path, tmp_path: Path) -> None:
    code, _, err = run(trained, tmp_path / "m.txt")
    assert code == 73
    assert "m.txt does not end in .onnx" in err
