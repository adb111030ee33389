"""The man pages are those the program would write, say what `--help` says, and are sound roff."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from buildmap import errors
from buildmap.cli import man
from buildmap.cli.app import app

FOLDER = Path("completions/man1")
README = Path("README.md").read_text(encoding="utf-8")
ROOT: Any = get_command(app)
VERBS = sorted(ROOT.commands)
PAGES = man.pages(README)
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"]

needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="no groff on this system")


def _rendered(page: str) -> str:
    """Show a page as a terminal would, one line to a paragraph, and refuse any warning."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-rLL=3000n", "-P-cbou"],
        input=page.encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode()


def _section(page: str, title: str) -> str:
    return page.partition(f".SH {title}\n")[2].partition("\n.SH ")[0]


def test_the_committed_pages_are_current() -> None:
    committed = {path.name: path.read_text(encoding="ascii") for path in FOLDER.iterdir()}
    told = f"python -m buildmap.cli.man {FOLDER}"
    assert sorted(committed) == sorted(PAGES), told
    assert [name for name in PAGES if committed[name] != PAGES[name]] == [], told


def test_the_program_and_every_verb_have_a_page_with_all_sections() -> None:
    assert sorted(PAGES) == sorted(["buildmap.1", *(f"buildmap-{verb}.1" for verb in VERBS)])
    for page in PAGES.values():
        titles = re.findall(r"^\.SH (.+)$", page, re.M)
        assert [title for title in titles if title in SECTIONS] == SECTIONS
        assert len(set(titles)) == len(titles)


@needs_groff
@pytest.mark.parametrize("verb", VERBS)
def test_a_page_says_of_every_parameter_what_help_says(verb: str) -> None:
    shown = " ".join(_rendered(PAGES[f"buildmap-{verb}.1"]).split())
    command = ROOT.commands[verb]
    context = command.context_class(command, info_name=verb)
    for param in command.params:
        record = param.get_help_record(context)
        if param.param_type_name == "option":
            assert all(f" {flag}" in shown for flag in param.opts)
        assert " ".join(record[1].removesuffix("[required]").split()) in shown
    for paragraph in command.help.split("\n\n")[1:]:
        assert " ".join(paragraph.split()) in shown


@needs_groff
def test_the_first_page_lists_the_verbs_and_opens_like_the_readme() -> None:
    shown = _rendered(PAGES["buildmap.1"])
    for verb in VERBS:
        summary = ROOT.commands[verb].help.partition("\n\n")[0]
        assert re.search(rf"^ +buildmap-{verb}\(1\)\n +{re.escape(' '.join(summary.split()))}$", shown, re.M)
    assert " ".join(README.split("\n\n")[1].split()) in shown


@needs_groff
def test_every_example_is_shown_as_it_is_typed() -> None:
    readme = (
        "```sh\nbuildmap predict 'a b.tif' ~/c.tif --bands 4,3,2 \\\n  --tta d4   # `slow`, --but better\n"
        "buildmap presetz\n```\nand `buildmap presets lite > mine.toml`, `buildmap presets`.\n"
    )
    made = man.pages(readme)
    shown = _rendered(made["buildmap-predict.1"]).partition("EXAMPLES\n")[2].partition("\nSEE ALSO")[0]
    assert shown.split("\n") == [
        "       `slow`, --but better:",
        "",
        "           buildmap predict 'a b.tif' ~/c.tif --bands 4,3,2 --tta d4",
        "",
    ]
    assert "buildmap presets lite > mine.toml" in _rendered(made["buildmap-presets.1"])
    assert "EXAMPLES" not in made["buildmap-demo.1"]


def test_arguments_stand_in_brackets_in_the_synopsis_only() -> None:
    page = PAGES["buildmap-demo.1"]
    assert _section(page, "SYNOPSIS") == r"\fBbuildmap demo\fR [\fIOPTIONS\fR] [\fIDIR\fR]"
    assert _section(page, "ARGUMENTS").startswith(".TP\n\\fIDIR\\fR\n")


def test_the_examples_are_those_of_the_readme() -> None:
    assert "buildmap predict city.tif city.gpkg" in _section(PAGES["buildmap-predict.1"], "EXAMPLES")
    assert r"change.gpkg \-\-exit\-code" in _section(PAGES["buildmap-change.1"], "EXAMPLES")


def test_exit_codes_are_those_of_the_errors() -> None:
    codes = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    listed = set(map(int, re.findall(r"^\\fB(\d+)\\fR$", _section(PAGES["buildmap.1"], "EXIT STATUS"), re.M)))
    assert listed == codes | {0, 2, 10, 130, 141, 143}
    for verb, code in [("change", 10), ("train", 70)]:
        having = [each for each in VERBS if rf"\fB{code}\fR" in PAGES[f"buildmap-{each}.1"]]
        assert having == [verb]


@pytest.mark.parametrize("verb", VERBS)
def test_the_variables_of_the_example_are_read(verb: str) -> None:
    said = _section(PAGES[f"buildmap-{verb}.1"], "ENVIRONMENT").replace("\\-", "-").replace("\n", " ")
    flag, own, shared = re.findall(r"(--\S+) reads (\w+), then (\w+),", said)[0]
    named = {flag: param.envvar for param in ROOT.commands[verb].params for flag in param.opts}
    assert named[flag] == [own, shared]


def test_the_variables_of_the_first_page_are_read_somewhere() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in Path("buildmap").rglob("*.py")
        if path != Path(man.__file__)
    )
    listed = re.findall(r"^\\fB([A-Z_]+)\\fR$", _section(PAGES["buildmap.1"], "ENVIRONMENT"), re.M)
    assert len(listed) >= 5
    assert [name for name in listed if name not in code] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_parameter_has_a_sentence(verb: str) -> None:
    for param in ROOT.commands[verb].params:
        said = param.help or ""
        assert re.match(r"[A-Z0-9-]", said) and said.endswith((".", "?", ")")), param.name


@needs_groff
@pytest.mark.parametrize(
    "line", [".tif as OUTPUT", "'quoted'", "a\\nb", "Zürich 建物 ½ ok", "--flag ^x ~y `z`", '"a" "b"']
)
def test_any_text_is_shown_as_it_is(line: str) -> None:
    page = f'.TH X 1 "" "x" "x"\n.SH NAME\n{man._text(line)}\n'
    assert page.isascii()
    assert f"       {line}" in _rendered(page).split("\n")


def test_what_some_groff_shows_as_other_letters_is_named() -> None:
    assert man._text("~^`'-\\") == r"\(ti\(ha\(ga\(aq\-\e"


def test_writing_replaces_pages_of_verbs_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "buildmap-gone.1").touch()
    (tmp_path / "other.1").touch()
    (tmp_path / "README").write_text("# buildmap\n\nMaps.\n", encoding="utf-8")
    man.write_pages(tmp_path, tmp_path / "README")
    assert {path.name for path in tmp_path.iterdir()} == {*PAGES, "other.1", "README"}
    assert "\nMaps.\n" in (tmp_path / "buildmap.1").read_text(encoding="ascii")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc on this system")
def test_mandoc_finds_no_error() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "error", *sorted(FOLDER.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""
