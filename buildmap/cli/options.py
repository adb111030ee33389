"""Options shared by commands: one definition per flag."""

import math
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from buildmap.cli.console import log_to_stderr
from buildmap.preset import preset_paths

if TYPE_CHECKING:
    from buildmap.vector.outlining import Outlining


def number(value: float | None) -> float | None:
    """Refuse what is no number; a range alone lets it pass."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def date(value: str | None) -> str | None:
    """Refuse what is no day, month or year."""
    if value is None:
        return None
    try:
        datetime.strptime(value, {4: "%Y", 7: "%Y-%m", 10: "%Y-%m-%d"}.get(len(value), "no date"))
    except ValueError as error:
        raise typer.BadParameter(f"'{value}' is not a date such as 2024-06-30, 2024-06 or 2024") from error
    return value


def given(ctx: typer.Context, names: set[str]) -> str:
    """Name those of some options that stand on the command line; '' if none does."""
    stated = [
        max(param.opts, key=len)
        for param in ctx.command.params
        if param.name in names
        and (source := ctx.get_parameter_source(param.name)) is not None
        and source.name == "COMMANDLINE"
    ]
    return ", ".join(stated)


def check_found(footprints: int | None, fail_if_empty: bool) -> None:
    """Refuse a layer without footprints, where the user asked for that; it is written all the same.

    Raises:
        EmptyError: If it is empty.
    """
    from buildmap.errors import EmptyError

    if fail_if_empty and footprints == 0:
        raise EmptyError("no building was found", hint="the layer is written, and empty")


def _log(verbose: bool) -> bool:
    if verbose:
        log_to_stderr()
    return verbose


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
FailIfEmpty = Annotated[
    bool, typer.Option("--fail-if-empty", help="End with 4 if there is no footprint in the layer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one summary object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log each step on stderr.", callback=_log)]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|...",
        help="Where the network runs: auto, cpu, cuda, tensorrt; several GPUs as cuda:0,1.",
        autocompletion=lambda: ["auto", "cpu", "cuda", "tensorrt"],
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        callback=number,
        help="Wait so long for another run with the same output to end.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that do the work.")]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS|local",
        help="Work on a dask cluster: tcp://HOST:8786; local starts one on this machine.",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Drop what an unfinished run has done.")]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME|FILE",
        help="A shipped preset, or a TOML file.",
        autocompletion=lambda: list(preset_paths()),
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAME",
        help="GPKG, FlatGeobuf, GeoJSONSeq, Parquet or PMTiles; by OUTPUT's suffix if absent.",
        autocompletion=lambda: ["GPKG", "FlatGeobuf", "GeoJSONSeq", "Parquet", "PMTiles"],
    ),
]
Layer = Annotated[str, typer.Option("--layer", help="Name of the layer.")]
Aoi = Annotated[
    Path | None,
    typer.Option(
        "--aoi", readable=False, help="Vector file, any CRS: only what lies inside its polygons counts."
    ),
]
Bbox = Annotated[
    str | None,
    typer.Option(
        "--bbox",
        metavar="LEFT,BOTTOM,RIGHT,TOP",
        help="Only what lies inside counts; in the CRS of the raster (of the truth, in evaluate).",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        callback=number,
        help="Probability from which a pixel is a building; if absent, the model's in predict, else 0.5.",
    ),
]
Method = Annotated[
    Literal["raw", "simplify", "adaptive"],
    typer.Option(
        "--method",
        help="How outlines are fitted: pixel edges, fewer corners, or straight walls and right angles.",
    ),
]
SimplifyM = Annotated[
    float | None,
    typer.Option(
        "--simplify-m",
        min=0,
        callback=number,
        help="Selects --method simplify: metres that a corner may lie off; one pixel if absent.",
    ),
]
Hysteresis = Annotated[
    float | None,
    typer.Option(
        "--hysteresis",
        min=0,
        max=1,
        callback=number,
        help="Leave out buildings of which no pixel reaches this probability.",
    ),
]
Split = Annotated[
    bool, typer.Option("--split", help="Part touching buildings between places of high probability.")
]
Seed = Annotated[
    float,
    typer.Option(
        "--seed-probability",
        min=0,
        max=1,
        callback=number,
        help="For --split: probability of the places that buildings grow from.",
    ),
]
Outline = Annotated[
    Literal["edge", "subpixel"],
    typer.Option("--outline", help="Fit to pixel edges, or to where the probability crosses the threshold."),
]
MinAreaM2 = Annotated[
    float,
    typer.Option("--min-area-m2", min=0, callback=number, help="Leave out footprints smaller than this."),
]
MinHoleM2 = Annotated[
    float, typer.Option("--min-hole-m2", min=0, callback=number, help="Fill holes smaller than this.")
]

Valid = Annotated[
    bool,
    typer.Option(
        "--valid",
        help="Add a layer valid to a GeoPackage: the ground with data. change needs it to tell what is gone "
        "from what was not seen.",
    ),
]


def box(text: str | None) -> tuple[float, float, float, float] | None:
    """Read a box; one that is empty is a usage error."""
    if text is None:
        return None
    try:
        left, bottom, right, top = (float(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--bbox '{text}' is not LEFT,BOTTOM,RIGHT,TOP") from error
    if not (left < right and bottom < top):
        raise typer.BadParameter(f"--bbox '{text}' is empty: LEFT < RIGHT and BOTTOM < TOP")
    return left, bottom, right, top


def size_bytes(text: str | None) -> int | None:
    """Read an amount of memory such as 2G, 500M or 1.5GB (powers of 1000) or 2GiB (of 1024)."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([kMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"'{text}' is not an amount of memory such as 2G or 500M")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def outlining(**options: Any) -> "Outlining":
    """Gather how footprints are drawn; nonsense that a range cannot catch is a usage error.

    Args:
        options: Fields of `Outlining`; to give a tolerance is to ask for the method that has one.
    """
    from buildmap.vector.outlining import Outlining

    if options["simplify_m"] is not None:
        options["method"] = "simplify"
    try:
        return Outlining(**options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
