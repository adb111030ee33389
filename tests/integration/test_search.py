"""A grid of trainings: one model, one table, and nothing trained twice."""

import csv
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.models.checkpoint import load_checkpoint
from buildmap.preset import Preset, change_preset, find_preset
from buildmap.train import TrainOptions, train
from tests.cli.test_train import TOML
from tests.scenes import write_training_data

GRID = ("--grid", "loss=ce,wdice", "--grid", "training.seed=0,1")


@pytest.fixture(autouse=True, scope="module")
def _no_pictures() -> Iterator[None]:
    """Spare what takes four fifths of so short a training; processes of their own draw all the same."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("train.draw_curves", "train.draw_overlays", "search.run.draw"):
            patched.setattr(f"buildmap.{name}", lambda *_, **__: None)
        patched.setattr("buildmap.train.render", lambda _: "")
        yield


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Give a folder with training data and a preset."""
    return furnished(tmp_path)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Give such a folder in which the grid has been searched, and what was found."""
    folder = furnished(tmp_path_factory.mktemp("searched"))
    code, out, _ = run(folder, *GRID, "--json")
    assert code == 0
    return folder, json.loads(out)


def furnished(folder: Path) -> Path:
    write_training_data(folder / "data")
    (folder / "p.toml").write_text(TOML)
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    words = ["train", "data", "m.safetensors", "--preset", "p.toml", "--device", "cpu", "-q", *arguments]
    with chdir(folder):
        result = CliRunner().invoke(app, words)
    return result.exit_code, result.stdout, result.stderr


def test_every_combination_is_trained_and_the_best_model_is_the_output(
    searched: tuple[Path, dict[str, Any]],
) -> None:
    here, found = searched
    asked = [{"loss": loss, "training.seed": seed} for loss in ("ce", "wdice") for seed in "01"]
    assert [trial["settings"] for trial in found["trials"]] == asked
    best = max(found["trials"], key=lambda trial: trial["iou"])
    assert found["best"] == best["settings"]
    assert (here / "m.safetensors").read_bytes() == (here / best["model"]).read_bytes()
    with (here / found["table"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["iou"]) for row in rows] == [trial["iou"] for trial in found["trials"]]
    assert [row["loss"] for row in rows] == ["ce", "ce", "wdice", "wdice"]


def test_seeds_are_averaged_into_one_row(searched: tuple[Path, dict[str, Any]]) -> None:
    here, found = searched
    ious = [trial["iou"] for trial in found["trials"]]
    assert [row["settings"] for row in found["rows"]] == [{"loss": "ce"}, {"loss": "wdice"}]
    for row, seeds in zip(found["rows"], (ious[:2], ious[2:]), strict=True):
        assert row["trials"] == 2
        assert row["iou"] == pytest.approx(statistics.mean(seeds))
        assert row["iou_sd"] == pytest.approx(statistics.stdev(seeds))
    code, out, _ = run(here, *GRID, "--overwrite")
    lines = [line.split() for line in out.splitlines()[-3:]]
    assert (code, lines[0]) == (0, ["loss", "trials", "iou", "sd", "f1", "sd"])
    assert [line[:3] for line in lines[1:]] == [
        [loss, "2", f"{row['iou']:.4f}"] for loss, row in zip(("ce", "wdice"), found["rows"], strict=True)
    ]


def test_what_is_trained_is_what_the_settings_say(here: Path) -> None:
    assert run(here, "--grid", "model.width=4,6", "--grid", "training.epochs=1")[0] == 0
    widths = {load_checkpoint(path)[1].model.width for path in (here / "m.grid").glob("*.safetensors")}
    assert widths == {4, 6}
    assert preset_of(here).model.width == 4


def test_finished_trials_are_not_trained_again(searched: tuple[Path, dict[str, Any]]) -> None:
    here, first = searched
    states = {path: path.read_bytes() for path in here.glob("m.grid/*/state.safetensors")}
    changed = {path: path.stat().st_mtime_ns for path in states}
    again = json.loads(run(here, *GRID, "--json", "--overwrite")[1])
    assert len(states) == 4
    assert {path: path.stat().st_mtime_ns for path in states} == changed
    assert [trial["iou"] for trial in again["trials"]] == [trial["iou"] for trial in first["trials"]]


def test_a_trial_that_diverges_is_a_gap_in_the_table_and_no_end(here: Path) -> None:
    code, out, _ = run(
        here, "--grid", "training.learning_rate=1e30,0.01", "--set", "training.steps_per_epoch=40", "--json"
    )
    found = json.loads(out)
    assert (code, found["diverged"]) == (0, 1)
    assert [trial["model"] is None for trial in found["trials"]] == [True, False]
    assert found["best"] == {"training.learning_rate": "0.01"}
    assert (here / "m.safetensors").is_file()


def test_a_training_that_stops_for_now_goes_on_with_the_same_bits(here: Path) -> None:
    data, preset, options = here / "data", preset_of(here), TrainOptions(device="cpu", overwrite=True)
    train(data, here / "whole.safetensors", preset, options)
    epochs = [
        train(data, here / "parts.safetensors", preset, replace(options, stop_after=stop)).epochs
        for stop in (1, 2, 1, None)
    ]
    assert epochs == [1, 2, 2, 3]
    assert (here / "parts.safetensors").read_bytes() == (here / "whole.safetensors").read_bytes()


def test_trials_that_are_stopped_and_go_on_side_by_side_end_with_the_same_bits(
    searched: tuple[Path, dict[str, Any]], here: Path
) -> None:
    """Seed 0 is that of the preset: what the grid has trained with it is what these trials are."""
    (here / "s.toml").write_text("[grid]\nloss = ['ce', 'wdice']\n[halving]\nreduction = 2\n")
    code, out, _ = run(here, "--search", "s.toml", "--device", "cpu:2", "--json")
    found = json.loads(out)
    epochs = [trial["epochs"] for trial in found["trials"]]
    assert (code, max(epochs), found["epochs"], found["grid_epochs"]) == (0, 3, sum(epochs), 6)
    alone = {
        loss: (searched[0] / "m.grid" / f"loss={loss},training.seed=0.safetensors").read_bytes()
        for loss in ("ce", "wdice")
    }
    ended = [trial for trial in found["trials"] if not trial["stopped"]]
    assert ended
    for trial in ended:
        assert (here / trial["model"]).read_bytes() == alone[trial["settings"]["loss"]]
    assert (here / "m.safetensors").read_bytes() == alone[found["best"]["loss"]]
    assert find_preset(str(here / found["preset"])) == change_preset(
        preset_of(here), {"loss": found["best"]["loss"]}
    )


def test_sigterm_ends_every_trial_and_keeps_what_they_have_learned(here: Path) -> None:
    command = [sys.executable, "-m", "buildmap", "train", "data", "m.safetensors", "--preset", "p.toml"]
    command += ["--device", "cpu:2", "--set", "training.epochs=1000", "--grid", "loss=ce,wdice"]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(here.glob("m.grid/*/metrics.jsonl"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "hint: run the same command again" in err
    done = [len(path.read_text().splitlines()) for path in sorted(here.glob("m.grid/*/metrics.jsonl"))]
    assert len(done) == 2 and all(0 < epochs < 1000 for epochs in done)
    assert len(list(here.glob("m.grid/*/state.safetensors"))) == 2
    assert not (here / "m.safetensors").exists()


def preset_of(folder: Path) -> Preset:
    return find_preset(str(folder / "p.toml"))


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
    got, out, err = run(here, *arguments)
    assert (got, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (here / "m.grid").exists()
