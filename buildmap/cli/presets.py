"""`buildmap presets`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from buildmap.cli.console import report
from buildmap.cli.options import Json
from buildmap.errors import MismatchError
from buildmap.preset import load_preset, preset_paths
from buildmap.schema import did_you_mean

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="Print this preset's TOML, to start one of your own.",
        show_default=False,
        autocompletion=lambda: list(preset_paths()),
    ),
]

_HEAD = ("name", "model", "parameters", "GMAC", "GSD", "what it is")
_NUMBERS = (2, 3)
"""Columns of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetLine:
    """A shipped preset in brief."""

    name: str
    """What `--preset` takes."""
    title: str
    """The paper or baseline, in one line."""
    paper: str
    """Where it was published."""
    model: str
    """Which network."""
    parameters: int | None
    """Learned numbers in it."""
    gmac_512: float | None
    """Multiply-adds, in thousand millions, for one image of 512 x 512 pixels."""
    gsd_min_m: float
    """Finest ground sample distance, metres."""
    gsd_max_m: float
    """Coarsest ground sample distance, metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetList:
    """What `buildmap presets` prints."""

    presets: tuple[PresetLine, ...]
    """Shipped presets, by name."""


def presets(name: Name = None, *, json: Json = False) -> None:
    """List the shipped presets, or print one."""
    if name is not None:
        typer.echo(_toml(name), nl=False)
        return
    lines = tuple(_line(shipped) for shipped in preset_paths())
    if json:
        report(PresetList(presets=lines), json=True)
        return
    for row in _columns([_HEAD, *(_row(line) for line in lines)]):
        typer.echo(row)


def _row(line: PresetLine) -> tuple[str, ...]:
    size = "-" if line.parameters is None else f"{line.parameters / 1e6:.2f} M"
    work = "-" if line.gmac_512 is None else f"{line.gmac_512:.2f}"
    return line.name, line.model, size, work, f"{line.gsd_min_m:g}-{line.gsd_max_m:g} m", line.title


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align all but the last column; numbers to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(_HEAD) - 1)]
    return [
        "  ".join(
            cell.rjust(width) if index in _NUMBERS else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, [*widths, 0], strict=True))
        )
        for row in rows
    ]


def _line(name: str) -> PresetLine:
    preset = load_preset(preset_paths()[name])
    return PresetLine(
        name=name,
        title=preset.title,
        paper=preset.paper,
        model=preset.model.name,
        parameters=preset.parameters,
        gmac_512=preset.gmac_512,
        gsd_min_m=preset.data.gsd_min_m,
        gsd_max_m=preset.data.gsd_max_m,
    )


def _toml(name: str) -> str:
    shipped = preset_paths()
    if name not in shipped:
        hint = did_you_mean(name, list(shipped)) or f"shipped presets: {', '.join(shipped)}"
        raise MismatchError(f"no preset '{name}'", hint=hint)
    return shipped[name].read_text(encoding="utf-8")
