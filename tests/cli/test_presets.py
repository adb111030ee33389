"""`buildmap presets`, seen from a shell."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.preset import load_preset, preset_paths


def test_the_list_names_every_shipped_preset_with_its_model_and_ground() -> None:
    result = CliRunner().invoke(app, ["presets"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == len(preset_paths())
    for line, (name, path) in zip(result.stdout.splitlines(), preset_paths().items(), strict=True):
        preset = load_preset(path)
        assert line.split()[:2] == [name, preset.model.name]
        assert f" {preset.data.gsd_min_m:g}-{preset.data.gsd_max_m:g} m " in line
        assert line.endswith(preset.title)


def test_json_is_one_object_with_the_same_content() -> None:
    result = CliRunner().invoke(app, ["presets", "--json"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)["presets"]
    assert [entry["name"] for entry in listed] == list(preset_paths())
    for entry in listed:
        preset = load_preset(preset_paths()[entry["name"]])
        assert entry == {
            "name": entry["name"],
            "title": preset.title,
            "model": preset.model.name,
            "gsd_min_m": preset.data.gsd_min_m,
            "gsd_max_m": preset.data.gsd_max_m,
        }


@pytest.mark.parametrize("name", sorted(preset_paths()))
def test_a_preset_is_printed_as_the_toml_it_is(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["presets", name])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == preset_paths()[name].read_text(encoding="utf-8")
    assert tomllib.loads(result.stdout)
    own = tmp_path / "own.toml"
    own.write_text(result.stdout, encoding="utf-8")
    assert load_preset(own) == load_preset(preset_paths()[name])


def test_an_unknown_preset_is_refused_with_the_nearest_one() -> None:
    result = CliRunner().invoke(app, ["presets", "lits"])
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == "error: no preset 'lits'\n hint: did you mean 'lite'?\n"


def test_a_name_like_none_is_refused_with_the_list() -> None:
    result = CliRunner().invoke(app, ["presets", "zzzzz"])
    assert result.exit_code == 78
    assert result.stderr.endswith(f" hint: shipped presets: {', '.join(preset_paths())}\n")
