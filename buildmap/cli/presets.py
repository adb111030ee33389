"""`buildmap presets`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetLine:
    """A shipped preset in brief."""

    name: str
    """What `--preset` takes."""
    title: str
    """The paper or baseline, in one line."""
    model: str
    """Which network."""
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
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        gsd = f"{line.gsd_min_m:g}-{line.gsd_max_m:g} m"
        typer.echo(f"{line.name:<{width}}  {line.model:<8}  {gsd:<10}  {line.title}")


def _line(name: str) -> PresetLine:
    preset = load_preset(preset_paths()[name])
    return PresetLine(
        name=name,
        title=preset.title,
        model=preset.model.name,
        gsd_min_m=preset.data.gsd_min_m,
        gsd_max_m=preset.data.gsd_max_m,
    )


def _toml(name: str) -> str:
    shipped = preset_paths()
    if name not in shipped:
        hint = did_you_mean(name, list(shipped)) or f"shipped presets: {', '.join(shipped)}"
        raise MismatchError(f"no preset '{name}'", hint=hint)
    return shipped[name].read_text(encoding="utf-8")
