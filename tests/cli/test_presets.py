"""`buildmap presets`, seen from a shell."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from buildmap.cli.app import app
from buildmap.preset import load_preset, preset_paths


def test_the_list_says_of_every_shipped_preset_what_it_is_and_costs() -> None:
    result = CliRunner().invoke(app, ["presets"])
    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["name", "model", "parameters", "GMAC", "GSD", "what", "it", "is"]
    assert len(lines) == len(preset_paths())
    for line, (name, path) in zip(lines, preset_paths().items(), strict=True):
        preset = load_preset(path)
        assert preset.parameters is not None
        assert line.split()[:2] == [name, preset.model.name]
        assert f" {preset.parameters / 1e6:.2f} M " in line
        assert (" - " if preset.gmac_512 is None else f" {preset.gmac_512:.2f} ") in line
        assert f" {preset.data.gsd_min_m:g}-{preset.data.gsd_max_m:g} m " in line
        assert line.endswith(f" {preset.title}")
    assert {line.index(" M ") for line in lines} == {head.index("parameters") + len("parameters") - 2}


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
            "paper": preset.paper,
            "model": preset.model.name,
            "parameters": preset.parameters,
            "gmac_512": preset.gmac_512,
            "gsd_min_m": preset.data.gsd_min_m,
            "gsd_max_m": preset.data.gsd_max_m,
        }


def test_a_preset_without_counts_is_listed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = preset_paths()["lite"].read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("parameters", "gmac_512"))]
    (tmp_path / "bare.toml").write_text("\n".join(kept), encoding="utf-8")
    monkeypatch.setattr("buildmap.cli.presets.preset_paths", lambda: {"bare": tmp_path / "bare.toml"})
    assert CliRunner().invoke(app, ["presets"]).stdout.splitlines()[1].split()[:4] == [
        "bare",
        "lite",
        "-",
        "-",
    ]
    listed = json.loads(CliRunner().invoke(app, ["presets", "--json"]).stdout)["presets"]
    assert (listed[0]["parameters"], listed[0]["gmac_512"]) == (None, None)


def test_presets_are_listed_without_the_libraries_of_networks() -> None:
    code = (
        "import sys; from buildmap.cli.app import app; app(['presets'], standalone_mode=False);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'segmentation_models_pytorch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


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
