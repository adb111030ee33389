"""The command-line application. Errors become exit codes here and nowhere else."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from buildmap import __version__
from buildmap.cli.change import change
from buildmap.cli.console import say
from buildmap.cli.demo import demo
from buildmap.cli.describe import describe
from buildmap.cli.doctor import doctor
from buildmap.cli.evaluate import evaluate
from buildmap.cli.export import export
from buildmap.cli.options import Quiet, Verbose
from buildmap.cli.predict import predict
from buildmap.cli.presets import presets
from buildmap.cli.train import train
from buildmap.cli.vectorize import vectorize
from buildmap.errors import BuildmapError, InputError, ResourceError, StorageError

_TORCH_EXTRA = {
    "lightning",
    "lightning_fabric",
    "onnxscript",
    "safetensors",
    "segmentation_models_pytorch",
    "timm",
    "torch",
    "torchvision",
}


class _Commands(TyperGroup):
    """The verbs: adds what all of them share, and ends every failure with an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        shared = [param for param in self.params if param.name in {"quiet", "verbose"}]
        _read_environment(shared, "")
        for name, command in self.commands.items():
            own = {param.name for param in command.params}
            _read_environment(command.params, name)
            command.params += [_hidden_from_function(param) for param in shared if param.name not in own]

    def make_context(self, *args: Any, **settings: Any) -> Any:
        """Read the arguments before the verb; `--help` and `--version` print here."""
        with _boundary():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Read the verb's arguments and run it."""
        with _boundary():
            return super().invoke(ctx)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete without descriptions."""
        return _bare(super().shell_complete(ctx, incomplete))


class _Command(TyperCommand):
    """A verb."""

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete without descriptions."""
        return _bare(super().shell_complete(ctx, incomplete))


app = typer.Typer(
    name="buildmap",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich costs more than the whole of --help may
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every option also reads an environment variable: --threshold reads BUILDMAP_PREDICT_THRESHOLD "
    "for predict, and BUILDMAP_THRESHOLD for every command. A flag wins.",
)
app.command(cls=_Command)(train)
app.command(cls=_Command)(evaluate)
app.command(cls=_Command)(predict)
app.command(cls=_Command)(vectorize)
app.command(cls=_Command)(change)
app.command(cls=_Command)(describe)
app.command(cls=_Command)(export)
app.command(cls=_Command)(presets)
app.command(cls=_Command)(demo)
app.command(cls=_Command)(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"buildmap {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    version: bool = typer.Option(
        False, "--version", help="Show the version.", callback=_version, is_eager=True
    ),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Building maps from overhead imagery, of any size."""
    del version, verbose  # their callbacks have run
    if quiet:
        ctx.default_map = {str(ctx.invoked_subcommand): {"quiet": True}}


def main() -> NoReturn:
    """Run the command line; every ending becomes an exit code here."""
    sys.excepthook = _report_bug
    signal.signal(signal.SIGTERM, _terminate)
    _prepare_streams()
    code = _ending(lambda: get_command(app).main(prog_name="buildmap")) or _ending(sys.stdout.flush)
    try:
        sys.stdout.flush()
    except OSError:  # reported above; the interpreter, which flushes once more, shall find nothing wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _ending(run: Callable[[], object]) -> int:
    try:
        with _boundary():
            run()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


@contextmanager
def _boundary() -> Iterator[None]:
    """Turn what can go wrong outside the program into two lines and an exit code.

    Raises:
        SystemExit: With the code, from the error.
    """
    try:
        yield
    except BuildmapError as error:
        _fail(error, str(error), error.hint, error.exit_code)
    except KeyboardInterrupt as error:
        _fail(error, "interrupted", "run the same command again", 130)
    except _Terminated as error:
        _fail(error, "terminated", "run the same command again", 143)
    except BrokenPipeError as error:
        raise SystemExit(141) from error
    except MemoryError as error:
        _fail(error, f"out of memory: {error}", "free some memory", ResourceError.exit_code)
    except UnicodeEncodeError as error:
        told = f"'{error.object}' is not a name GDAL can open: it is not valid {error.encoding}"
        _fail(error, told, "rename it, or run under LC_ALL=C.UTF-8", InputError.exit_code)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in _TORCH_EXTRA:
            raise
        install = "pip install 'buildmap[torch]'"
        _fail(error, f"{missing} is not installed", install, ResourceError.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{place}{error.strerror or error}", None, StorageError.exit_code)


def _fail(error: BaseException, message: str, hint: str | None, code: int) -> NoReturn:
    if _debugging():
        traceback.print_exception(error)
    with suppress(OSError):  # stderr may be the closed pipe
        say(f"error: {message}")
        if hint:
            say(f" hint: {hint}")
    raise SystemExit(code) from error


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _debugging():
        sys.__excepthook__(kind, error, trace)
    else:
        told = " ".join(str(error).split())
        say(f"bug: {kind.__name__}: {told}; run again with BUILDMAP_DEBUG=1 for the traceback")


def _debugging() -> bool:
    return os.environ.get("BUILDMAP_DEBUG", "0") not in {"", "0"}


class _Terminated(BaseException):
    """SIGTERM, as an exception: every `finally` runs before the process ends."""


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _prepare_streams() -> None:
    """Make writing to the standard streams safe, whatever the caller has left of them.

    A descriptor that was closed is taken by one that cannot be written, so that no output file
    gets its number; what the encoding lacks is written as an escape.
    """
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _read_environment(params: list[Any], verb: str) -> None:
    """Give every option its variables: `BUILDMAP_VERB_OPTION`, then `BUILDMAP_OPTION`."""
    for param in params:
        if param.param_type_name == "option" and not param.is_eager:
            flag = max(param.opts, key=len).lstrip("-").replace("-", "_").upper()
            prefixes = [f"{verb.upper()}_", ""] if verb else [""]
            param.envvar = [f"BUILDMAP_{prefix}{flag}" for prefix in prefixes]
            param.show_envvar = False


def _hidden_from_function(param: Any) -> Any:
    """Copy an option so that its value is not handed to the verb's function."""
    other = copy(param)
    other.expose_value = False
    return other


def _bare(items: list[Any]) -> list[Any]:
    """Drop the descriptions, for which typer would import rich."""
    for item in items:
        item.help = None
    return items
