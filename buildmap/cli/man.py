"""Man pages, made of the commands' own parameters: `python -m buildmap.cli.man completions/man1`.

What the parameters do not say comes from where it is said already: exit codes from `buildmap.errors`,
examples from the README.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from buildmap import __version__, errors
from buildmap.cli.app import app

_WIDTH = 100
_ESCAPES = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
}
_METAVARS = {"<float range>": "NUMBER", "<int range>": "INTEGER", "<path>": "FILE", "<str>": "TEXT"}
_ONLY_OF = {
    10: {"change"},
    errors.DivergedError.exit_code: {"train"},
    errors.EmptyError.exit_code: {"predict", "vectorize"},
}
"""Exit codes that some commands alone end with."""
_RETRIED = frozenset({errors.ResourceError.exit_code, errors.LockedError.exit_code})
_CODES = {
    0: "Done.",
    1: "A bug: please report it.",
    2: "Usage: an option or argument is wrong.",
    10: "With --exit-code: there are changes.",
    130: "Interrupted by Ctrl-C; the same command goes on.",
    141: "The reader of stdout went away.",
}
"""Exit codes that are no error's."""
_VARIABLES = {
    "BUILDMAP_DEBUG": "With 1, an error shows its traceback.",
    "GDAL_CACHEMAX": "Megabytes that GDAL may hold of rasters; what the work needs if absent. "
    "Other variables of GDAL, such as those for remote storage, hold too.",
    "NUMBA_CACHE_DIR": "Where compiled loops are kept from one run to the next, if not in the package.",
    "OMP_NUM_THREADS": "CPU cores to take at most.",
    "TMPDIR": "Where temporary files lie: what is streamed, and layers that are converted at the end.",
}
_LOCK = (".OUTPUT.lock", "Keeps a second run of the same output away.")
_WORK = (".OUTPUT.buildmap/", "What is done of the output, beside it. It is gone when the output is whole.")
_FILES = {
    "demo": (("DIR/", "The scene, its true buildings, their credits, the map and a picture of both."),),
    "train": (
        ("MODEL.run/", "Metrics, curves and samples of the training, and where it goes on if interrupted."),
        (".MODEL.safetensors.lock", _LOCK[1]),
    ),
}
"""Where it is not as for other commands."""
_PACKAGE = (
    ("buildmap/weights/", "The built-in model and its card, in the folder that buildmap doctor names."),
    ("buildmap/presets/", "The presets that buildmap presets lists."),
)
_PROGRAMS = ("gdalinfo", "ogr2ogr")


def pages(readme: str) -> dict[str, str]:
    """Make a page of the program and one of each of its commands.

    Args:
        readme: Text with the examples, in blocks of code and between backticks.

    Returns:
        File name to roff.
    """
    root: Any = get_command(app)
    context = root.context_class(root, info_name="buildmap", **root.context_settings)
    commands: dict[str, Any] = root.commands
    examples = _examples(readme, frozenset(commands))
    made = {"buildmap.1": _program_page(context, commands, _opening(readme), examples)}
    for name, command in commands.items():
        inner = command.context_class(command, info_name=name, parent=context)
        others = [other for other in commands if other != name]
        made[f"buildmap-{name}.1"] = _command_page(name, inner, examples.get(name, {}), others)
    return made


def write_pages(
    folder: Annotated[Path, typer.Argument(help="Folder for the pages.")],
    readme: Annotated[Path, typer.Argument(help="Where examples are taken from.")] = Path("README.md"),
) -> None:
    """Write all man pages, and delete those of commands that are no more."""
    made = pages(readme.read_text(encoding="utf-8"))
    for old in folder.glob("buildmap*.1"):
        old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in made.items():
        (folder / name).write_text(page, encoding="ascii")


def _program_page(
    context: Any,
    commands: Mapping[str, Any],
    opening: Sequence[str],
    examples: Mapping[str, Mapping[str, str]],
) -> str:
    listed = [
        (rf"\fBbuildmap\-{_escaped(name)}\fR(1)", _text((command.help or "").partition("\n\n")[0]))
        for name, command in commands.items()
    ]
    first = {line: note for shown in examples.values() for line, note in list(shown.items())[:1]}
    lines = [
        *_head("buildmap", context, opening),
        *_section("COMMANDS", _tagged(listed)),
        *_section("OPTIONS", _tagged(_options(context))),
        *_section("ENVIRONMENT", _tagged((rf"\fB{name}\fR", _text(_VARIABLES[name])) for name in _VARIABLES)),
        *_section("EXIT STATUS", _tagged(_codes(None))),
        *_section("FILES", _tagged(_files_of(_PACKAGE))),
        *_section("EXAMPLES", _shown(first)),
        *_section("SEE ALSO", _references([f"buildmap-{name}" for name in commands])),
    ]
    return "\n".join(lines) + "\n"


def _command_page(name: str, context: Any, examples: Mapping[str, str], others: Sequence[str]) -> str:
    summary, *paragraphs = (context.command.help or "").split("\n\n")
    arguments = [
        (rf"\fI{_escaped(record[0].strip('[]'))}\fR", _text(record[1].removesuffix("[required]")))
        for param in context.command.params
        if param.param_type_name == "argument" and (record := param.get_help_record(context))
    ]
    lines = [
        *_head(f"buildmap-{name}", context, paragraphs or [summary]),
        *_section("ARGUMENTS", _tagged(arguments)),
        *_section("OPTIONS", _tagged(_options(context))),
        *_section("ENVIRONMENT", _environment(context)),
        *_section("EXIT STATUS", _tagged(_codes(name))),
        *_section("FILES", _tagged(_files(name, context))),
        *_section("EXAMPLES", _shown(examples)),
        *_section("SEE ALSO", _references(["buildmap", *(f"buildmap-{other}" for other in others)])),
    ]
    return "\n".join(lines) + "\n"


def _head(title: str, context: Any, described: Sequence[str]) -> list[str]:
    """Give all that stands before the arguments: title, NAME, SYNOPSIS, DESCRIPTION."""
    command = context.command
    name = " ".join((command.help or "").partition("\n\n")[0].split()).rstrip(".")
    usage = " ".join(_placeholder(piece) for piece in command.collect_usage_pieces(context))
    paragraphs = [*described, *([command.epilog] if command.epilog else [])]
    return [
        f'.TH {_escaped(title.upper())} 1 "" "buildmap {__version__}" "buildmap"',
        ".nh",  # a name that is broken cannot be copied
        ".ad l",
        ".SH NAME",
        rf"{_escaped(title)} \- {_escaped(name[:1].lower() + name[1:])}",
        ".SH SYNOPSIS",
        rf"\fB{_escaped(context.command_path)}\fR {usage}",
        *_section("DESCRIPTION", "\n.PP\n".join(map(_text, paragraphs)).splitlines()),
    ]


def _opening(readme: str) -> list[str]:
    """Give the paragraphs with which a README begins, as plain text."""
    paragraphs = readme.partition("\n## ")[0].split("\n\n")
    plain = (re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", paragraph) for paragraph in paragraphs)
    return [paragraph for paragraph in plain if not paragraph.startswith(("#", "!", "["))]


def _placeholder(piece: str) -> str:
    """Write what stands for an argument in italics: `{RASTER}` must be given, `[OUTPUT]` may be."""
    return re.sub(r"\w[\w.-]*\w|\w", lambda word: rf"\fI{_escaped(word[0])}\fR", piece.strip("{}"))


def _options(context: Any) -> Iterator[tuple[str, str]]:
    for param in context.command.get_params(context):
        if param.param_type_name == "option" and (record := param.get_help_record(context)):
            flags, metavar = _parted(record[0])
            shown = ", ".join(rf"\fB{_escaped(flag)}\fR" for flag in flags.split(", "))
            taken = _METAVARS.get(metavar, metavar.strip("<>"))
            yield (rf"{shown} \fI{_escaped(taken)}\fR" if taken else shown), _text(record[1])


def _parted(record: str) -> tuple[str, str]:
    """Part `-i, --input-list FILE` behind the last flag."""
    found = re.fullmatch(r"((?:-\S+, )*-\S+) ?(.*)", record)
    return (found[1], found[2]) if found else (record, "")


def _environment(context: Any) -> list[str]:
    """Say which variables the options read, by the example of one, if possible one that takes a value."""
    options = [param for param in context.command.params if param.envvar and len(param.envvar) == 2]
    for param in sorted(options, key=lambda param: bool(param.is_flag))[:1]:
        flag, (own, shared) = max(param.opts, key=len), param.envvar
        return _text(
            f"Every option reads an environment variable as well: {flag} reads {own}, then {shared}, "
            "which holds for all commands. A flag wins. buildmap(1) lists the others."
        ).splitlines()
    return []


def _codes(name: str | None) -> Iterator[tuple[str, str]]:
    """Give exit codes and what they mean; all of them where no command is named."""
    told = dict(_CODES)
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.BuildmapError) and error.exit_code != 1:
            retry = " It may be tried again." if error.exit_code in _RETRIED else ""
            told[error.exit_code] = f"{(error.__doc__ or '').splitlines()[0]}{retry}"
    for code in sorted(told):
        if name is None or name in _ONLY_OF.get(code, {name}):
            yield rf"\fB{code}\fR", _text(told[code])


def _files(name: str, context: Any) -> Iterator[tuple[str, str]]:
    """Name what lies beside an output."""
    writes = any(param.name == "output" for param in context.command.params)
    return _files_of(_FILES.get(name, (_WORK, _LOCK) if writes else ()))


def _files_of(files: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((rf"\fI{_escaped(file)}\fR", _text(said)) for file, said in files)


def _examples(readme: str, verbs: frozenset[str]) -> dict[str, dict[str, str]]:
    """Find the command lines in a text: command to line to the remark behind it."""
    blocks = "\n".join(re.findall(r"^```\w+\n(.*?)^```", readme, re.M | re.S)).replace("\\\n", "")
    lines = re.findall(r"^(?:\$ )?(buildmap [a-z].*)$", blocks, re.M)
    lines += re.findall(r"`(buildmap [a-z]+ [^`\n]+)`", readme)
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        typed, _, note = line.partition(" # ")
        verb = typed.split()[1]
        if verb in verbs:
            found.setdefault(verb, {}).setdefault(" ".join(typed.split()), note.strip())
    return found


def _shown(examples: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for line, note in examples.items():
        said = [*_text(f"{note}:").splitlines(), ".PP"] if note else []
        lines += [".PP", *said, ".RS 4", ".nf", _escaped(line), ".fi", ".RE"]
    return lines[1:]


def _references(titles: Sequence[str]) -> list[str]:
    shown = [rf"\fB{_escaped(title)}\fR(1)" for title in (*titles, *_PROGRAMS)]
    return [f"{each}," for each in shown[:-1]] + shown[-1:]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f".SH {title}", *lines] if lines else []


def _tagged(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lay out terms, in roff, each with a text below."""
    return [line for term, text in rows for line in (".TP", term, *text.splitlines())]


def _text(words: str) -> str:
    """Write running text in roff, in short lines of which none is taken for a request."""
    lines = textwrap.wrap(" ".join(words.split()), _WIDTH, break_on_hyphens=False, break_long_words=False)
    return "\n".join(map(_escaped, lines))


def _escaped(line: str) -> str:
    """Write a line so that roff shows what it says."""
    plain = "".join(_ESCAPES.get(letter, letter) for letter in line)
    shown = "".join(letter if letter.isascii() else rf"\[u{ord(letter):04X}]" for letter in plain)
    return rf"\&{shown}" if shown.startswith(".") else shown


if __name__ == "__main__":
    typer.run(write_pages)
