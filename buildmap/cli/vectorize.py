"""`buildmap vectorize`."""

from typing import Annotated

import typer

from buildmap.cli.options import Json, OutputPath, Overwrite, Quiet, RasterPath, Threshold

SimplifyM = Annotated[
    float | None,
    typer.Option(
        "--simplify-m",
        min=0,
        help="Metres a corner may lie off the new outline; one pixel if absent, 0 for raw pixel edges.",
    ),
]
MinAreaM2 = Annotated[
    float, typer.Option("--min-area-m2", min=0, help="Leave out footprints smaller than this.")
]
MinHoleM2 = Annotated[float, typer.Option("--min-hole-m2", min=0, help="Fill holes smaller than this.")]
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
    """Draw footprints (.gpkg) around the buildings of a mask or of probability, from 0.5 if not told."""
    from buildmap.cli.console import progress, report
    from buildmap.vector.footprint import Outlining
    from buildmap.vectorize import vectorize as run

    try:
        settings = Outlining(
            threshold=0.5 if threshold is None else threshold,
            simplify_m=simplify_m,
            min_area_m2=min_area_m2,
            min_hole_m2=min_hole_m2,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    summary = run(
        raster,
        output,
        settings,
        layer=layer,
        assume_crs=assume_crs,
        overwrite=overwrite,
        progress=progress(quiet=quiet),
    )
    report(summary, json=json)
