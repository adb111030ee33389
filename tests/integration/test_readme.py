"""What the README says of exit codes, options and presets is what the program does."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from buildmap import errors
from buildmap.cli.app import app
from buildmap.preset import preset_paths

README = Path("README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"^```\w+\n(.*?)^```", README, re.M | re.S))
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def test_every_exit_code_of_an_error_is_in_the_table() -> None:
    table = README.partition("| exit code | means |")[2].partition("\n\n")[0]
    rows = " ".join(re.findall(r"^\| ([\d, ]+) \|", table, re.M))
    codes = {value.exit_code for value in vars(errors).values() if hasattr(value, "exit_code")}
    assert {int(code) for code in re.findall(r"\d+", rows)} == codes | {0, 2, 10, 130, 141, 143}


@pytest.mark.parametrize("line", re.findall(r"^(?:\$ )?buildmap ([a-z].*)$", BLOCKS, re.M))
def test_every_command_line_names_a_verb_its_options_and_presets(line: str) -> None:
    verb, *words = re.split("[#|]", line)[0].split()
    options = {name for param in COMMANDS[verb].params for name in param.opts}
    assert {word for word in words if word.startswith("-") and word != "-"} <= options
    named = {name for word, name in pairwise(words) if word == "--preset"}
    assert {name for name in named if not name.endswith(".toml")} <= preset_paths().keys()


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not Path(link).exists()] == []
