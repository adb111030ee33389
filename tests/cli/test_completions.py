"""The completion scripts are those the program writes, and they complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildmap.cli.app import app
from buildmap.preset import preset_paths

FOLDER = Path("completions")
BUILDMAP = [sys.executable, "-m", "buildmap"]


def _complete(shell: str, line: str) -> list[str]:
    """Give what the program offers a shell at the end of `line`."""
    words = line.split(" ")
    environment = {
        "_BUILDMAP_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(BUILDMAP, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_current(shell: str) -> None:
    environment = os.environ | {"_BUILDMAP_COMPLETE": f"source_{shell}"}
    source = subprocess.run(BUILDMAP, env=environment, capture_output=True, text=True, check=True).stdout
    script = (FOLDER / f"buildmap.{shell}").read_text()
    assert script.strip() == source.strip(), (
        f"_BUILDMAP_COMPLETE=source_{shell} buildmap > {FOLDER}/buildmap.{shell}"
    )
    assert script == script.strip() + "\n"


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("buildmap ", {command.callback.__name__ for command in app.registered_commands if command.callback}),
        ("buildmap prese", {"presets"}),
        ("buildmap presets --js", {"--json"}),
        ("buildmap presets ", set(preset_paths())),
        ("buildmap presets zzz", set()),
        ("buildmap train --preset ", set(preset_paths())),
        ("buildmap predict --device c", {"cpu", "cuda"}),
    ],
)
def test_verbs_flags_and_presets_are_offered(shell: str, line: str, offered: set[str]) -> None:
    assert set(_complete(shell, line)) == offered


def test_zsh_is_offered_the_same() -> None:
    assert _complete("zsh", "buildmap presets --js") == ["_arguments", "'*:", ':(("--json"))\'']


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this system")
def test_bash_completes_through_the_script(tmp_path: Path) -> None:
    program = tmp_path / "buildmap"
    program.write_text(f'#!/bin/sh\nexec {" ".join(BUILDMAP)} "$@"\n')
    program.chmod(0o755)
    line = (
        f"source {FOLDER}/buildmap.bash; COMP_WORDS=(buildmap prese); COMP_CWORD=1; "
        f"_buildmap_completion '{program}'; echo \"${{COMPREPLY[@]}}\"; complete -p buildmap"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "presets\ncomplete -o default -F _buildmap_completion buildmap\n"
