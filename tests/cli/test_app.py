"""What every command shares, seen from a shell: endings, streams, environment, start-up."""

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from buildmap import __version__, errors
from buildmap.cli.app import app
from buildmap.cli.options import Quiet, Threshold
from buildmap.errors import BuildmapError, InputError

HEAVY = {
    "dask",
    "geopandas",
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyogrio",
    "rasterio",
    "rich",
    "scipy",
    "shapely",
    "torch",
}
VERBS = sorted(str(command.callback.__name__) for command in app.registered_commands if command.callback)
ERRORS = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, BuildmapError)]
BUILDMAP = [sys.executable, "-m", "buildmap"]

FAILING = """
import errno, os, sys, time
import buildmap.cli.presets
from buildmap.cli.app import main
from buildmap.errors import *

def fail(*_):
    {body}

buildmap.cli.presets.load_preset = fail
sys.argv = ["buildmap", "presets"]
main()
"""


def _failing(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `buildmap presets`, in which `body` happens."""
    code = FAILING.format(body=body)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def _probe() -> typer.Typer:
    """Make an application like ours, with a command that tells what it was given."""
    assert app.registered_callback is not None
    probe = typer.Typer(cls=app.info.cls, rich_markup_mode=None)
    probe.callback()(app.registered_callback.callback)

    @probe.command()
    def predict(quiet: Quiet = False, threshold: Threshold = None) -> None:
        """Tell."""
        logging.getLogger("buildmap.predict").info("logged")
        typer.echo(f"{quiet} {threshold}")

    return probe


def test_the_version_is_printed_alone() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"buildmap {__version__}\n", "")


def test_without_a_verb_the_help_is_shown() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert all(verb in result.output for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["presetz"], "Did you mean 'presets'"),
        (["presets", "--jsn"], "No such option"),
        (["-x"], "No such option"),
    ],
)
def test_a_usage_error_is_2_and_leaves_stdout_empty(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_two_lines_and_its_code(
    kind: type[BuildmapError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise kind("raster has 4 bands [x], model 3", hint="--bands 4,3,2")

    monkeypatch.setattr("buildmap.cli.presets.load_preset", fail)
    result = CliRunner().invoke(app, ["presets"])
    assert result.exit_code == kind.exit_code
    assert result.stderr == "error: raster has 4 bands [x], model 3\n hint: --bands 4,3,2\n"
    assert result.stdout == ""


def test_an_error_without_a_hint_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise InputError("broken")

    monkeypatch.setattr("buildmap.cli.presets.load_preset", fail)
    assert CliRunner().invoke(app, ["presets"]).stderr == "error: broken\n"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("raise InputError('no', hint='yes')", 65, "error: no\n hint: yes\n"),
        (
            "raise MemoryError('Unable to allocate 9 GiB')",
            69,
            "error: out of memory: Unable to allocate 9 GiB\n",
        ),
        ("import torch.gone", 69, "error: torch is not installed\n hint: pip install 'buildmap[torch]'\n"),
        (
            "raise OSError(errno.ENOSPC, 'No space left on device', 'a.tif')",
            74,
            "error: a.tif: No space left",
        ),
        ("raise OSError(errno.EIO, 'Input/output error')", 74, "error: Input/output error\n"),
        ("raise KeyboardInterrupt", 130, "error: interrupted\n hint: run the same command again\n"),
        ("raise BrokenPipeError(errno.EPIPE, 'Broken pipe')", 141, ""),
        ("raise KeyError('x')", 1, "bug: KeyError: 'x'; run again with BUILDMAP_DEBUG=1 for the traceback\n"),
        ("raise OSError('no\\nerrno')", 1, "bug: OSError: no errno; run again with BUILDMAP_DEBUG=1 for the"),
        ("import buildmap.gone", 1, "bug: ModuleNotFoundError: No module named 'buildmap.gone'; run again"),
        ("sys.exit(3)", 3, ""),
    ],
)
def test_every_ending_has_its_code_and_no_traceback(body: str, code: int, message: str) -> None:
    if "torch" in body:
        body = f"sys.modules['torch'] = None; {body}"
    result = _failing(body)
    assert result.returncode == code
    assert result.stderr.startswith(message) if message else result.stderr == ""
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("body", "code"), [("raise InputError('no')", 65), ("raise KeyError('x')", 1)])
@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_the_traceback_comes_with_the_debug_variable(body: str, code: int, value: str, shown: bool) -> None:
    result = _failing(body, BUILDMAP_DEBUG=value)
    assert result.returncode == code
    assert ("Traceback" in result.stderr) is shown


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_the_run_after_its_cleanup(number: signal.Signals, code: int, word: str) -> None:
    body = """
    try:
        print("working", flush=True)
        time.sleep(20)
    finally:
        print("cleaned up", flush=True)
    """
    command = [sys.executable, "-c", FAILING.format(body=body.strip())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (code, "cleaned up\n")
    assert err == f"error: {word}\n hint: run the same command again\n"


def _shell(line: str) -> tuple[int, str]:
    """Run a bash line in which `$buildmap` is the command; give its status and stderr."""
    environment = os.environ | {"buildmap": " ".join(BUILDMAP)}
    done = subprocess.run(
        ["bash", "-c", line], env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=30
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", ["presets", "presets --json", "--help", "presets -h", "--version"])
def test_a_closed_pipe_is_quiet(arguments: str) -> None:
    line = f"{{ sleep 0.3; $buildmap {arguments}; echo $? >&2; }} | true"
    assert _shell(line) == (0, "141\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", ["presets", "presets --json", "--help", "--version"])
def test_a_full_stdout_is_an_output_error(arguments: str) -> None:
    assert _shell(f"$buildmap {arguments} > /dev/full") == (74, "error: No space left on device\n")


def test_a_closed_stdout_is_an_output_error_and_closed_others_do_not_matter() -> None:
    assert _shell("$buildmap presets >&-") == (74, "error: Bad file descriptor\n")
    assert _shell("$buildmap presets <&- >/dev/null 2>&-") == (0, "")
    assert _shell("$buildmap presets nothing 2>&-") == (78, "")


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0"}])
def test_no_letter_is_too_foreign_for_the_terminal(environment: dict[str, str]) -> None:
    result = subprocess.run(
        [*BUILDMAP, "presets", b"\xe5\xbb\xba\xff"],
        env={**environment, "PATH": "/bin"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 78
    assert result.stderr.startswith(b"error: no preset '")
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["predict", "vectorize", "evaluate", "export"])
def test_an_input_that_may_not_be_read_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    secret = tmp_path / "secret.tif"
    secret.write_bytes(b"II")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK or Path(path) != secret)
    truth = secret if verb == "evaluate" else tmp_path / ("out.onnx" if verb == "export" else "out.gpkg")
    result = CliRunner().invoke(app, [verb, str(secret), str(truth)])
    assert result.exit_code == 66
    assert "secret.tif is not readable" in result.stderr


@pytest.mark.parametrize("name", ["BUILDMAP_THRESHOLD", "BUILDMAP_PREDICT_THRESHOLD"])
def test_an_option_is_read_from_the_environment_and_a_flag_wins(name: str) -> None:
    environment = {name: "0.25"}
    assert CliRunner().invoke(_probe(), ["predict"], env=environment).stdout == "False 0.25\n"
    arguments = ["predict", "--threshold", "0.75"]
    assert CliRunner().invoke(_probe(), arguments, env=environment).stdout == "False 0.75\n"


def test_a_command_s_own_variable_wins_over_the_general_one() -> None:
    environment = {"BUILDMAP_THRESHOLD": "0.1", "BUILDMAP_PREDICT_THRESHOLD": "0.2", "BUILDMAP_QUIET": "1"}
    assert CliRunner().invoke(_probe(), ["predict"], env=environment).stdout == "True 0.2\n"


def test_a_wrong_value_in_the_environment_is_a_usage_error_that_names_it() -> None:
    result = CliRunner().invoke(_probe(), ["predict"], env={"BUILDMAP_THRESHOLD": "7"})
    assert result.exit_code == 2
    assert "--threshold" in result.stderr


@pytest.mark.parametrize("arguments", [["-q", "predict"], ["predict", "-q"], ["--quiet", "predict"]])
def test_quiet_stands_before_or_after_the_verb(arguments: list[str]) -> None:
    assert CliRunner().invoke(_probe(), arguments).stdout == "True None\n"


@pytest.mark.parametrize("arguments", [["-v", "predict"], ["predict", "-v"], ["predict", "--verbose"]])
def test_verbose_stands_before_or_after_the_verb_and_logs_on_stderr(arguments: list[str]) -> None:
    result = CliRunner().invoke(_probe(), arguments)
    assert result.stdout == "False None\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d buildmap\.predict: logged\n", result.stderr)


def test_without_verbose_nothing_is_logged() -> None:
    assert CliRunner().invoke(_probe(), ["predict"]).stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_the_shared_options(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert all(flag in result.stdout for flag in ("--quiet", "--verbose", "--help"))


COMPLETION = {
    "COMP_WORDS": "buildmap presets --",
    "COMP_CWORD": "2",
    "_TYPER_COMPLETE_ARGS": "buildmap presets --",
}


@pytest.mark.parametrize(
    ("arguments", "shell"),
    [(["--help"], None), (["--version"], None), ([], "bash"), ([], "zsh"), ([], "fish")]
    + [([verb, "--help"], None) for verb in VERBS],
    ids=str,
)
def test_help_and_completion_import_nothing_heavy(arguments: list[str], shell: str | None) -> None:
    environment = COMPLETION | {
        "_BUILDMAP_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "buildmap", *arguments],
        env=os.environ | (environment if shell else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {
        name.partition(".")[0] for name in re.findall(r"\| +([\w.]+)$", result.stderr, flags=re.MULTILINE)
    }
    assert "typer" in imported
    assert imported & HEAVY == set()
    assert result.stdout if not shell else "--json" in result.stdout
