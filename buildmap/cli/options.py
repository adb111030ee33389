"""Options shared by commands: one definition per flag."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from buildmap.cli.console import log_to_stderr
from buildmap.preset import preset_paths

if TYPE_CHECKING:
    from buildmap.vector.footprint import Outlining


def number(value: float | None) -> float | None:
    """Refuse what is no number; a range alone lets it pass."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def _log(verbose: bool) -> bool:
    if verbose:
        log_to_stderr()
    return verbose


RasterPath = Annotated[Path, typer.Argument(metavar="RASTER", readable=False, help="Any raster GDAL reads.")]
OutputPath = Annotated[Path, typer.Argument(metavar="OUTPUT", readable=False, help="File to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print one summary object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log each step on stderr.", callback=_log)]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where the network runs; auto takes a GPU if there is one."),
]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME|FILE",
        help="A shipped preset, or a TOML file.",
        autocompletion=lambda: list(preset_paths()),
    ),
]
Aoi = Annotated[
    Path | None,
    typer.Option(
        "--aoi", readable=False, help="Vector file, any CRS: only what lies inside its polygons counts."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold", min=0, max=1, callback=number, help="Probability from which a pixel is a building."
    ),
]
SimplifyM = Annotated[
    float | None,
    typer.Option(
        "--simplify-m",
        min=0,
        callback=number,
        help="Metres a corner may lie off the new outline; one pixel if absent, 0 for raw pixel edges.",
    ),
]
MinAreaM2 = Annotated[
    float,
    typer.Option("--min-area-m2", min=0, callback=number, help="Leave out footprints smaller than this."),
]
MinHoleM2 = Annotated[
    float, typer.Option("--min-hole-m2", min=0, callback=number, help="Fill holes smaller than this.")
]


def outlining(
    threshold: float, simplify_m: float | None, min_area_m2: float, min_hole_m2: float
) -> "Outlining":
    """Gather how footprints are drawn; nonsense that a range cannot catch is a usage error."""
    from buildmap.vector.footprint import Outlining

    try:
        return Outlining(
            threshold=threshold, simplify_m=simplify_m, min_area_m2=min_area_m2, min_hole_m2=min_hole_m2
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
