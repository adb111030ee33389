"""`buildmap train --search` and `--grid`, seen from a shell; the trainings take no time."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.preset import load_preset
from buildmap.search.run import search
from buildmap.training.preset_toml import to_toml
from tests.unit.search.fakes import DIVERGING, FAKE, HUNGRY, learn

GRID = "[grid]\nloss.bce = [0.0, 0.5]\nloss.dice = [0.2, 0.4]\ntraining.seed = [0, 1]\n"
HALVING = "[halving]\nmin_epochs = 3\nreduction = 2\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a preset and a search, and go there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "p.toml").write_text(to_toml(FAKE))
    (tmp_path / "s.toml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("buildmap.search.run.search", partial(search, learn=learn))
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    words = ["train", "data", "m.safetensors", "--preset", "p.toml", "--device", "cpu", *arguments]
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.stdout, result.stderr


def test_a_search_from_a_file_gives_model_table_picture_and_preset(here: Path) -> None:
    code, out, err = run("--search", "s.toml", "--json", "-q")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["best"] == {"loss.bce": "0.5", "loss.dice": "0.4", "training.seed": "1"}
    assert (len(found["trials"]), len(found["rows"])) == (8, 4)
    assert (found["epochs"], found["grid_epochs"], found["stopped"]) == (160, 160, 0)
    for name, path in (("table", "trials.csv"), ("heatmap", "heatmap.png"), ("preset", "best.toml")):
        assert found[name] == str(Path("m.grid", path))
        assert (here / found[name]).stat().st_size > 0
    best = load_preset(here / found["preset"])
    assert (best.loss.bce, best.loss.dice, best.training.seed) == (0.5, 0.4, 1)
    assert (here / "m.safetensors").read_text().startswith("loss.bce=0.5,loss.dice=0.4,training.seed=1 ")


@pytest.mark.usefixtures("here")
def test_the_same_values_on_the_command_line_are_the_same_search() -> None:
    first = json.loads(run("--search", "s.toml", "--json", "-q")[1])
    grid = ("loss.bce=0.0,0.5", "loss.dice=0.2,0.4", "training.seed=0,1")
    flags = [word for values in grid for word in ("--grid", values)]
    assert json.loads(run(*flags, "--json", "-q", "--overwrite")[1]) == first


def test_halving_tells_how_many_epochs_it_has_spared(here: Path) -> None:
    (here / "s.toml").write_text(GRID + HALVING)
    code, out, _ = run("--search", "s.toml", "-q")
    shown = dict(line.split("  ", 1) for line in out.splitlines()[:13] if "  " in line)
    assert code == 0
    assert int(shown["grid epochs"]) == 160 > int(shown["epochs"]) >= 8 * 3
    header, *rows = [line.split() for line in out.splitlines()[-5:]]
    assert header == ["loss.bce", "loss.dice", "trials", "epochs", "iou", "sd", "f1", "sd"]
    assert [row[:3] for row in rows] == [
        [bce, dice, "2"] for bce in ("0.0", "0.5") for dice in ("0.2", "0.4")
    ]
    assert {row[3] for row in rows} <= {"3", "6", "12", "20"} and rows[-1][3] == "20"


def test_progress_says_which_trial_of_how_many(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    said: list[str] = []

    class Heard:
        def start(self, task: str, total: int) -> None:
            said.append(f"{task} of {total} steps")

        def advance(self, steps: int = 1) -> None:
            """Nothing."""

        def note(self, text: str) -> None:
            """Nothing."""

    monkeypatch.setattr("buildmap.cli.console.progress", lambda **_: Heard())
    assert run("--search", "s.toml")[0] == 0
    assert said == [
        f"trial {trial}/8, epoch {epoch}/20 of 1 steps" for trial in range(1, 9) for epoch in range(1, 21)
    ]
    assert (here / "m.safetensors").exists()


def test_a_trial_that_fails_is_listed_and_the_code_is_3(here: Path) -> None:
    (here / "s.toml").write_text(f"[grid]\ntraining.learning_rate = [1e-4, {HUNGRY}, {DIVERGING}]")
    code, out, err = run("--search", "s.toml", "--json", "-q")
    found = json.loads(out)
    assert (code, found["failed"], found["diverged"]) == (3, 1, 1)
    assert [trial["failure"] for trial in found["trials"]] == [
        None,
        "too little memory; lower batch_size",
        None,
    ]
    first, second = err.splitlines()
    assert first == "error: 1 of 3 trials have no model: too little memory; lower batch_size"
    assert "m.grid/trials.csv" in second and "--overwrite" in second
    assert (here / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[gird]\nloss.bce = [1]", "s.toml: unknown key 'gird'", "did you mean 'grid'?"),
        ("[grid]\ntraining.sead = [1]", "unknown key 'sead'", "did you mean 'seed'?"),
        ("[grid]\nloss.bce = []", "loss.bce has no values", "leave loss.bce out"),
        ("[grid", "s.toml is not TOML", "[grid]"),
        ("[grid]\nloss.bce = [1, 1]", "loss.bce has 1 twice", "leave one of them out"),
    ],
)
def test_a_wrong_file_is_refused_before_any_training(here: Path, text: str, message: str, hint: str) -> None:
    (here / "s.toml").write_text(text)
    code, out, err = run("--search", "s.toml")
    first, second = err.splitlines()
    assert (code, out) == (78, "")
    assert message in first and hint in second
    assert not (here / "m.grid").exists()


def test_a_search_that_is_not_there_is_refused(here: Path) -> None:
    for name, hint in (("none.toml", "shipped searches: hr-mamba-loss"), ("hr-mamba-los", "did you mean")):
        code, out, err = run("--search", name)
        assert (code, out) == (78, "")
        assert hint in err.splitlines()[1]
    assert not (here / "m.grid").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--search", "s.toml", "--grid", "loss=ce"), "--grid and --search exclude each other"),
        (("--search", "s.toml", "--audit-annotations", "a.gpkg"), "with one training"),
        (("--grid", "loss=ce", "--grid", "loss=dice"), "a key twice"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    here: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (here / "m.grid").exists()


def test_halving_without_optuna_names_the_install_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    (here / "s.toml").write_text(GRID + HALVING)
    code, out, err = run("--search", "s.toml")
    assert (code, out) == (69, "")
    assert "pip install 'buildmap[search]'" in err.splitlines()[1]
    assert not (here / "m.grid").exists()
