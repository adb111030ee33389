"""`buildmap vectorize`."""

from typing import Annotated

import typer

from buildmap.cli.options import (
    Json,
    MinAreaM2,
    MinHoleM2,
    OutputPath,
    Overwrite,
    Quiet,
    RasterPath,
    SimplifyM,
    Threshold,
    outlining,
)

Layer = Annotated[str, typer.Option("--layer", help="Name of the layer.")]
AssumeCrs = Annotated[
    str | None, typer.Option("--assume-crs", metavar="EPSG:CODE", help="CRS of a raster that does not say.")
]


def vectorize(
    raster: RasterPath,
    output: OutputPath,
    threshold: Threshold = None,
    simplify_m: SimplifyM = None,
    min_area_m2: MinAreaM2 = 5.0,
    min_hole_m2: MinHoleM2 = 5.0,
    layer: Layer = "footprints",
    assume_crs: AssumeCrs = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw footprints around buildings.

    RASTER is probability as predict writes it, or any mask; OUTPUT is a GeoPackage. A pixel is a
    building from probability 0.5 if --threshold is not given.
    """
    from buildmap.cli.console import progress, report
    from buildmap.vectorize import vectorize as run

    summary = run(
        raster,
        output,
        outlining(0.5 if threshold is None else threshold, simplify_m, min_area_m2, min_hole_m2),
        layer=layer,
        assume_crs=assume_crs,
        overwrite=overwrite,
        progress=progress(quiet=quiet),
    )
    report(summary, json=json)
