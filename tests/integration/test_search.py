"""A grid of trainings: one model, one table, and nothing trained twice."""

import csv
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import change_preset, find_preset
from buildmap.train import TrainOptions, train
from tests.cli.test_train import TOML
from tests.scenes import write_training_data

GRID = ("--grid", "loss=ce,wdice", "--grid", "training.seed=0,1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with training data and a preset, and go there."""
    write_training_data(tmp_path / "data")
    (tmp_path / "p.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    words = ["train", "data", "m.safetensors", "--preset", "p.toml", "--device", "cpu", "-q", *arguments]
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.stdout, result.stderr


def test_every_combination_is_trained_and_the_best_model_is_the_output(here: Path) -> None:
    code, out, _ = run(*GRID, "--json")
    assert code == 0
    found = json.loads(out)
    asked = [{"loss": loss, "training.seed": seed} for loss in ("ce", "wdice") for seed in "01"]
    assert [trial["settings"] for trial in found["trials"]] == asked
    best = max(found["trials"], key=lambda trial: trial["iou"])
    assert found["best"] == best["settings"]
    assert (here / "m.safetensors").read_bytes() == (here / best["model"]).read_bytes()
    with (here / found["table"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["iou"]) for row in rows] == [trial["iou"] for trial in found["trials"]]
    assert [row["loss"] for row in rows] == ["ce", "ce", "wdice", "wdice"]


@pytest.mark.usefixtures("here")
def test_seeds_are_averaged_into_one_row(here: Path) -> None:
    found = json.loads(run(*GRID, "--json")[1])
    ious = [trial["iou"] for trial in found["trials"]]
    assert [row["settings"] for row in found["rows"]] == [{"loss": "ce"}, {"loss": "wdice"}]
    for row, seeds in zip(found["rows"], (ious[:2], ious[2:]), strict=True):
        assert row["trials"] == 2
        assert row["iou"] == pytest.approx(statistics.mean(seeds))
        assert row["iou_sd"] == pytest.approx(statistics.stdev(seeds))
    code, out, _ = run(*GRID, "--overwrite")
    lines = [line.split() for line in out.splitlines()[-3:]]
    assert (code, lines[0]) == (0, ["loss", "trials", "iou", "sd", "f1", "sd"])
    assert [line[:3] for line in lines[1:]] == [
        [loss, "2", f"{row['iou']:.4f}"] for loss, row in zip(("ce", "wdice"), found["rows"], strict=True)
    ]
    assert (here / "m.grid").is_dir()


def test_what_is_trained_is_what_the_settings_say(here: Path) -> None:
    assert run("--grid", "model.width=4,6", "--grid", "training.epochs=1")[0] == 0
    widths = {load_checkpoint(path)[1].model.width for path in (here / "m.grid").glob("*.safetensors")}
    assert widths == {4, 6}
    assert find_preset("p.toml").model.width == 4


def test_finished_trials_are_not_trained_again(here: Path) -> None:
    first = json.loads(run(*GRID, "--json")[1])
    states = {path: path.read_bytes() for path in here.glob("m.grid/*/state.safetensors")}
    changed = {path: path.stat().st_mtime_ns for path in states}
    again = json.loads(run(*GRID, "--json", "--overwrite")[1])
    assert len(states) == 4
    assert {path: path.stat().st_mtime_ns for path in states} == changed
    assert [trial["iou"] for trial in again["trials"]] == [trial["iou"] for trial in first["trials"]]


def test_a_trial_that_diverges_is_a_gap_in_the_table_and_no_end(here: Path) -> None:
    code, out, _ = run(
        "--grid", "training.learning_rate=1e30,0.01", "--set", "training.steps_per_epoch=40", "--json"
    )
    found = json.loads(out)
    assert (code, found["diverged"]) == (0, 1)
    assert [trial["model"] is None for trial in found["trials"]] == [True, False]
    assert found["best"] == {"training.learning_rate": "0.01"}
    assert (here / "m.safetensors").is_file()


def test_a_training_that_stops_for_now_goes_on_with_the_same_bits(here: Path) -> None:
    data, preset, options = here / "data", find_preset("p.toml"), TrainOptions(device="cpu", overwrite=True)
    train(data, here / "whole.safetensors", preset, options)
    epochs = [
        train(data, here / "parts.safetensors", preset, replace(options, stop_after=stop)).epochs
        for stop in (1, 2, 1, None)
    ]
    assert epochs == [1, 2, 2, 3]
    assert (here / "parts.safetensors").read_bytes() == (here / "whole.safetensors").read_bytes()


def test_trials_that_are_stopped_and_go_on_side_by_side_end_with_the_same_bits(here: Path) -> None:
    (here / "s.toml").write_text("[grid]\nloss = ['ce', 'wdice']\n[halving]\nreduction = 2\n")
    assert run("--grid", "loss=ce,wdice")[0] == 0
    alone = {path.name: path.read_bytes() for path in here.glob("m.grid/*.safetensors")}
    (here / "m.grid").rename(here / "alone.grid")
    code, out, _ = run("--search", "s.toml", "--device", "cpu:2", "--overwrite", "--json")
    found = json.loads(out)
    epochs = [trial["epochs"] for trial in found["trials"]]
    assert (code, max(epochs), found["epochs"], found["grid_epochs"]) == (0, 3, sum(epochs), 6)
    names = [Path(trial["model"]).name for trial in found["trials"] if not trial["stopped"]]
    assert names and len(alone) == 2
    for name in names:
        assert (here / "m.grid" / name).read_bytes() == alone[name]
    assert (here / "m.safetensors").read_bytes() == alone[f"loss={found['best']['loss']}.safetensors"]
    assert find_preset(found["preset"]) == change_preset(
        find_preset("p.toml"), {"loss": found["best"]["loss"]}
    )


def test_sigterm_ends_every_trial_and_keeps_what_they_have_learned(here: Path) -> None:
    command = [sys.executable, "-m", "buildmap", "train", "data", "m.safetensors", "--preset", "p.toml"]
    command += ["--device", "cpu:2", "--set", "training.epochs=1000", "--grid", "loss=ce,wdice"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(here.glob("m.grid/*/metrics.jsonl"))) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "hint: run the same command again" in err
    done = [len(path.read_text().splitlines()) for path in sorted(here.glob("m.grid/*/metrics.jsonl"))]
    assert len(done) == 2 and all(0 < epochs < 1000 for epochs in done)
    assert len(list(here.glob("m.grid/*/state.safetensors"))) == 2
    assert not (here / "m.safetensors").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--grid", "loss=ce,nonsense"), 78, "no loss 'nonsense'"),
        (("--grid", "training.sead=1"), 78, "unknown key 'sead'"),
        (("--grid", "loss"), 2, "'loss' is not KEY=VALUE"),
        (("--set", "training.seed"), 2, "'training.seed' is not KEY=VALUE"),
        (("--grid", "loss=ce", "--audit-annotations", "a.gpkg"), 2, "with one training"),
    ],
)
def test_a_wrong_grid_is_refused_before_any_training(
    arguments: tuple[str, ...], code: int, message: str, here: Path
) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (here / "m.grid").exists()
