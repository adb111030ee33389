"""`buildmap train`, seen from a shell."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from pyogrio import read_dataframe
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.preset import load_preset
from tests.scenes import write_training_data

TOML = """
title = "bright blocks"
[data]
gsd_min_m = 0.5
gsd_max_m = 0.5
bands = [1, 2, 3]
mean = [0.45, 0.45, 0.45]
std = [0.25, 0.25, 0.25]
[model]
name = "lite"
width = 4
depth = 2
[loss]
bce = 0.5
dice = 0.5
[augment]
flip = 0.5
half_turn = 0
quarter_turns = true
gsd = "random"
gsd_jitter = 0
brightness = 0.1
contrast = 0.1
color = 0.1
[training]
chip_px = 32
batch_size = 2
steps_per_epoch = 2
epochs = 3
learning_rate = 0.01
power = 0.9
validation_share = 0.2
seed = 0
[predict]
window_px = 64
halo_px = 8
threshold = 0.5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with training data and a preset, and go there."""
    write_training_data(tmp_path / "data")
    (tmp_path / "p.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["train", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_model_and_one_json_object_come_out(here: Path) -> None:
    code, out, err = run("data", "m.safetensors", "--preset", "p.toml", "--device", "cpu", "--json", "-q")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert (summary["output"], summary["epochs"], summary["device"]) == ("m.safetensors", 3, "cpu")
    assert summary["validation_iou_by_source"].keys() == {"images/a"}
    assert 0 <= summary["validation_iou"] <= 1
    assert (here / "m.safetensors").is_file()


def test_epochs_on_the_command_line_win(here: Path) -> None:
    arguments = ["data", "m.safetensors", "--preset", "p.toml", "--device", "cpu"]
    code, out, _ = run(*arguments, "--epochs", "1")
    assert code == 0
    assert out.startswith("output")
    assert len((here / "m.run" / "metrics.jsonl").read_text().splitlines()) == 1
    code, _, err = run(*arguments, "--overwrite")
    assert (code, "training.epochs 1, this one has 3" in err, "--restart" in err) == (78, True, True)
    assert run(*arguments, "--overwrite", "--restart")[0] == 0
    assert len((here / "m.run" / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["data", "m.safetensors", "--preset", "litee"], 78, "no preset 'litee'", "did you mean 'lite'?"),
        (["nowhere", "m.safetensors", "--preset", "p.toml"], 66, "nowhere is not a folder", "images/"),
        (
            ["data", "m.onnx", "--preset", "p.toml"],
            73,
            "m.onnx does not end in .safetensors",
            "m.safetensors",
        ),
        (
            ["data", "m.onnx", "--preset", "p.toml", "--grid", "training.seed=0,1"],
            73,
            "m.onnx does not end in .safetensors",
            "m.safetensors",
        ),
        (["data", "no/m.safetensors", "--preset", "p.toml"], 73, "folder no does not exist", "mkdir"),
    ],
)
def test_each_failure_has_its_code_and_a_hint(
    arguments: list[str], code: int, message: str, hint: str
) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    first, second = err.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith(" hint: ") and hint in second


def test_an_existing_output_is_refused(here: Path) -> None:
    (here / "m.safetensors").write_text("old")
    code, _, err = run("data", "m.safetensors", "--preset", "p.toml")
    assert (code, err.splitlines()[1]) == (73, " hint: pass --overwrite to replace it")
    weights = ("--overwrite", "--set", "model.encoder_weights=m.safetensors")
    code, _, err = run("data", "m.safetensors", "--preset", "p.toml", *weights)
    assert (code, "m.safetensors is the input" in err) == (73, True)
    assert (here / "m.safetensors").read_text() == "old"


def test_an_audit_is_a_layer_of_its_own_and_is_told_of(here: Path) -> None:
    arguments = ["data", "m.safetensors", "--preset", "p.toml", "--device", "cpu"]
    code, out, _ = run(*arguments, "--audit-annotations", "a.gpkg", "--json", "-q")
    summary, suspects = json.loads(out), read_dataframe(here / "a.gpkg", layer="suspects")
    assert code == 0
    kinds = suspects["kind"].value_counts()
    assert summary["missing_buildings"] == kinds.get("missing", 0)
    assert summary["phantom_buildings"] == kinds.get("phantom", 0)
    assert len(read_dataframe(here / "a.gpkg", layer="chips")) > 0
    assert "phantom buildings in a.gpkg" in (here / "m.run" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("layer", "code", "message"),
    [
        ("a.geojson", 73, "only as .gpkg"),
        ("old.gpkg", 73, "old.gpkg exists"),
        ("linked.gpkg", 73, "linked.gpkg is the input"),
    ],
)
def test_an_audit_that_cannot_be_written_is_refused_before_any_learning(
    here: Path, layer: str, code: int, message: str
) -> None:
    (here / "old.gpkg").write_text("old")
    (here / "linked.gpkg").hardlink_to(here / "data" / "labels" / "a.tif")
    arguments = ["data", "m.safetensors", "--preset", "p.toml", "--device", "cpu"]
    got, out, err = run(*arguments, "--audit-annotations", layer)
    assert (got, out, message in err) == (code, "", True)
    assert not (here / "m.run").exists()
    assert (here / "old.gpkg").read_text() == "old"


@pytest.mark.usefixtures("here")
def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = run("data", "m.safetensors", "--preset", "p.toml", "--device", "cuda")
    assert (code, "--device cpu" in err) == (69, True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data"],
        ["data", "m.safetensors"],
        ["data", "m.safetensors", "--preset", "p.toml", "--epochs", "0"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    code, out, _ = run(*arguments)
    assert (code, out) == (2, "")


def test_the_preset_above_is_a_whole_one(here: Path) -> None:
    preset = asdict(load_preset(here / "p.toml"))
    for section, keys in tomllib.loads(TOML).items():
        assert section == "title" or keys.keys() <= preset[section].keys()
