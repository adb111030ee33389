"""`buildmap vectorize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from buildmap.cli.options import (
    Aoi,
    Dask,
    FailIfEmpty,
    Format,
    Hysteresis,
    Json,
    Layer,
    MinAreaM2,
    MinHoleM2,
    Outline,
    Overwrite,
    Quiet,
    Restart,
    Seed,
    SimplifyM,
    Split,
    Threshold,
    Valid,
    Wait,
    Workers,
    check_found,
    date,
    given,
    number,
    outlining,
)

if TYPE_CHECKING:
    from buildmap.vector.outlining import Outlining
    from buildmap.vectorize import Delivery, Running, VectorizeSummary

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="Any raster GDAL reads, also its URL; or a layer, to fit its polygons anew."
    ),
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT",
        readable=False,
        allow_dash=True,
        help="Layer to write; - streams FlatGeobuf, or GeoJSONSeq with -f.",
    ),
]
Method = Annotated[
    Literal["raw", "simplify", "paper", "adaptive"],
    typer.Option(
        "--method",
        help="How outlines are fitted: pixel edges, fewer corners, HR-Mamba's chain, or straight walls.",
    ),
]
QuantileArea = Annotated[
    float | None,
    typer.Option(
        "--quantile-area",
        metavar="KM2",
        min=0.01,
        callback=number,
        help="--method paper: find its thresholds in blocks of so much ground, not over all.",
    ),
]
KeepSteps = Annotated[
    Path | None,
    typer.Option(
        "--keep-steps", readable=False, help="--method paper: a GeoPackage for what its steps make."
    ),
]
FromLayer = Annotated[
    str | None, typer.Option("--from-layer", help="Layer to read, where SOURCE has several.")
]
GsdM = Annotated[
    float,
    typer.Option(
        "--gsd-m",
        min=0.001,
        callback=number,
        help="SOURCE is a layer: metres that count as one pixel; details of some pixels are noise.",
    ),
]
AssumeCrs = Annotated[
    str | None, typer.Option("--assume-crs", metavar="EPSG:CODE", help="CRS of a raster that does not say.")
]
TargetCrs = Annotated[
    str | None,
    typer.Option("--target-crs", metavar="EPSG:CODE", help="CRS of the layer; SOURCE's if absent."),
]
Style = Annotated[
    bool, typer.Option("--style", help="Add styles for QGIS to a GeoPackage, as a layer layer_styles.")
]
SourceDate = Annotated[
    str | None,
    typer.Option(
        "--source-date",
        metavar="YYYY[-MM[-DD]]",
        callback=date,
        help="When the imagery was taken; what the raster says if absent.",
    ),
]
_OF_RASTERS = {"threshold", "hysteresis", "split", "seed", "outline", "assume_crs", "valid"}
_OF_LAYERS = {"from_layer", "gsd_m"}
_OF_PAPER = {"quantile_area", "keep_steps"}


def vectorize(
    ctx: typer.Context,
    source: Source,
    output: Output,
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    split: Split = False,
    seed: Seed = 0.95,
    outline: Outline = "edge",
    method: Method = "adaptive",
    simplify_m: SimplifyM = None,
    quantile_area: QuantileArea = None,
    keep_steps: KeepSteps = None,
    min_area_m2: MinAreaM2 = 5.0,
    min_hole_m2: MinHoleM2 = 5.0,
    aoi: Aoi = None,
    assume_crs: AssumeCrs = None,
    from_layer: FromLayer = None,
    gsd_m: GsdM = 0.3,
    format: Format = None,  # noqa: A002
    layer: Layer = "footprints",
    target_crs: TargetCrs = None,
    style: Style = False,
    valid: Valid = False,
    source_date: SourceDate = None,
    workers: Workers = 1,
    dask: Dask = None,
    overwrite: Overwrite = False,
    restart: Restart = False,
    wait: Wait = 0.0,
    json: Json = False,
    quiet: Quiet = False,
    fail_if_empty: FailIfEmpty = False,
) -> None:
    """Draw footprints around buildings.

    SOURCE is probability as predict writes it, or any mask; a pixel is a building from probability 0.5 if
    --threshold is not given. An interrupted run goes on with the same command. From a layer as SOURCE,
    polygons are fitted anew.
    """
    from buildmap.vectorize import Delivery, Running

    _check_together(ctx, Path(source), output, method=method, simplify_m=simplify_m, split=split)
    settings = outlining(
        threshold=0.5 if threshold is None else threshold,
        hysteresis=hysteresis,
        split=split,
        seed=seed,
        outline=outline,
        method=method,
        simplify_m=simplify_m,
        min_area_m2=min_area_m2,
        min_hole_m2=min_hole_m2,
    )
    delivery = Delivery(
        assume_crs=assume_crs,
        layer=layer,
        format=format,
        target_crs=target_crs,
        styled=style,
        aoi=aoi,
        source_date=source_date,
        quantile_area_km2=quantile_area,
        keep_steps=keep_steps,
        valid=valid,
    )
    running = Running(overwrite=overwrite, restart=restart, wait_s=wait, workers=workers, dask=dask)
    summary = _carry_out(source, output, settings, delivery, running, (from_layer, gsd_m), quiet=quiet)
    _tell(summary, output, json=json, quiet=quiet)
    check_found(summary.footprints, fail_if_empty)


def _check_together(
    ctx: typer.Context,
    source: Path,
    output: Path,
    *,
    method: str,
    simplify_m: float | None,
    split: bool,
) -> None:
    """Refuse options that would do nothing beside the others; one from the environment may."""
    from buildmap.vector.writing.formats import GPKG, STREAM, format_of, is_vector

    layer = is_vector(source)
    if layer and method == "paper":
        raise typer.BadParameter(f"--method paper needs a raster, {source} is a layer")
    if layer and (useless := given(ctx, _OF_RASTERS)):
        raise typer.BadParameter(f"{useless} would do nothing: {source} is a layer")
    if not layer and (useless := given(ctx, _OF_LAYERS)):
        raise typer.BadParameter(f"{useless} would do nothing: {source} is a raster")
    if method != "paper" and (useless := given(ctx, _OF_PAPER)):
        raise typer.BadParameter(f"{useless} would do nothing without --method paper")
    if simplify_m is not None and method != "simplify" and given(ctx, {"method"}):
        raise typer.BadParameter(f"--simplify-m belongs to --method simplify, not to {method}")
    if not split and (useless := given(ctx, {"seed"})):
        raise typer.BadParameter(f"{useless} would do nothing without --split")
    if given(ctx, {"style"}) and (output == STREAM or format_of(output, ctx.params["format"]) != GPKG):
        raise typer.BadParameter("--style would do nothing: only a GeoPackage has styles")


def _carry_out(
    source: str,
    output: Path,
    settings: "Outlining",
    delivery: "Delivery",
    running: "Running",
    taken: tuple[str | None, float],
    *,
    quiet: bool,
) -> "VectorizeSummary":
    from buildmap.cli.console import progress
    from buildmap.errors import InputError, Stopped
    from buildmap.execution.drain import draining
    from buildmap.vector.writing.formats import STREAM, is_vector
    from buildmap.vectorize import refit_layer
    from buildmap.vectorize import vectorize as run

    if is_vector(Path(source)):
        if "://" in source:
            raise InputError(f"{source} is a layer elsewhere", hint="download it first")
        from_layer, gsd_m = taken
        return refit_layer(
            Path(source), output, settings, delivery, running, from_layer=from_layer, gsd_m=gsd_m
        )
    with draining() as drain:
        try:
            return run(
                source,
                output,
                settings,
                delivery,
                running,
                progress=progress(quiet=quiet),
                stop=lambda: drain.asked is not None,
            )
        except Stopped as stopped:
            if output == STREAM:
                stopped.hint = "nothing of it is kept: write to a file to be able to go on"
            raise


def _tell(summary: "VectorizeSummary", output: Path, *, json: bool, quiet: bool) -> None:
    """Report on stdout, or on stderr where the layer went down the other."""
    from buildmap.cli.console import report
    from buildmap.vector.writing.formats import STREAM

    if output != STREAM:
        report(summary, json=json)
    elif json or not quiet:
        report(summary, json=json, on_stderr=True)
