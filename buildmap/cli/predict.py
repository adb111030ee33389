"""`buildmap predict`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from buildmap.cli.options import (
    Aoi,
    Bbox,
    Dask,
    Device,
    FailIfEmpty,
    Hysteresis,
    Json,
    Method,
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
    box,
    check_found,
    given,
    number,
    outlining,
    size_bytes,
)

if TYPE_CHECKING:
    from buildmap.inference.devices import BackendOptions
    from buildmap.inference.options import Prediction, Running

RasterName = Annotated[
    str,
    typer.Argument(
        metavar="RASTER", help="Any raster GDAL reads, also its URL; left out where -i lists several."
    ),
]
Output = Annotated[
    Path | None,
    typer.Argument(metavar="OUTPUT", readable=False, help="Probability (.tif) or footprints (.gpkg)."),
]
InputList = Annotated[
    Path | None,
    typer.Option(
        "--input-list",
        "-i",
        readable=False,
        allow_dash=True,
        help="Text file of rasters, one a line, that are one mosaic; - is stdin.",
    ),
]
ModelFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        readable=False,
        help="Model file, .onnx or .safetensors; the built-in one if absent. Several are averaged.",
    ),
]
Bands = Annotated[
    str | None, typer.Option("--bands", metavar="B,B,...", help="1-based bands, in the model's order.")
]
NoResample = Annotated[
    bool, typer.Option("--no-resample", help="Keep the raster's pixels, whatever GSD the model knows.")
]
Tta = Annotated[
    Literal["none", "flips", "d4"],
    typer.Option("--tta", help="Average over mirror images (4 times the work), or all 8 symmetries."),
]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "bf16"],
    typer.Option(
        "--precision",
        help="Numbers that a .safetensors model computes in; auto is bf16 on a GPU, fp32 on a CPU.",
    ),
]
WindowPx = Annotated[
    int | None,
    typer.Option(
        "--window-px",
        min=1,
        help="Side of the windows that the network sees, in pixels; the model's own if absent.",
    ),
]
HaloPx = Annotated[
    int | None,
    typer.Option(
        "--halo-px",
        min=0,
        help="Pixels of context that every window sees on each side; the model's own if absent.",
    ),
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", metavar="SIZE", help="Main memory for the network: 2G, 500M.")
]
MaxVram = Annotated[
    str | None, typer.Option("--max-vram", metavar="SIZE", help="GPU memory for the network: 12G.")
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Do the I-th of N shares, on shared storage; then --finish."),
]
Finish = Annotated[bool, typer.Option("--finish", help="Put together what all shards have done.")]
Grouping = Annotated[
    Literal["along", "walk"] | None,
    typer.Option(
        "--grouping",
        help="With a model that finds buildings one by one: join corners along the outline of the mask (if "
        "absent, too), or from nearest to nearest.",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        min=0,
        max=1,
        callback=number,
        help="With a model that finds buildings one by one: their lowest score; 0.5 if absent.",
    ),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option("--on-error", help="What to do where the raster cannot be read; skip leaves gaps."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Write nothing; tell windows, time, memory and disk.")
]


_OF_FOOTPRINTS = {
    "hysteresis",
    "split",
    "seed",
    "outline",
    "method",
    "simplify_m",
    "min_area_m2",
    "min_hole_m2",
    "fail_if_empty",
}


def predict(
    ctx: typer.Context,
    raster: RasterName,
    output: Output = None,
    input_list: InputList = None,
    model: ModelFile = None,
    bands: Bands = None,
    bbox: Bbox = None,
    aoi: Aoi = None,
    no_resample: NoResample = False,
    window_px: WindowPx = None,
    halo_px: HaloPx = None,
    tta: Tta = "none",
    device: Device = "auto",
    precision: Precision = "auto",
    max_memory: MaxMemory = None,
    max_vram: MaxVram = None,
    workers: Workers = 1,
    dask: Dask = None,
    shard: Shard = None,
    finish: Finish = False,
    on_error: OnError = "stop",
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    split: Split = False,
    seed: Seed = 0.95,
    outline: Outline = "edge",
    method: Method = "adaptive",
    simplify_m: SimplifyM = None,
    min_area_m2: MinAreaM2 = 5.0,
    min_hole_m2: MinHoleM2 = 5.0,
    grouping: Grouping = None,
    min_score: MinScore = None,
    valid: Valid = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    restart: Restart = False,
    wait: Wait = 0.0,
    json: Json = False,
    quiet: Quiet = False,
    fail_if_empty: FailIfEmpty = False,
) -> None:
    """Predict buildings over a raster.

    A .tif as OUTPUT holds probability, 0..254 and 255 for no data; a .gpkg holds footprints, from the
    model's own threshold if --threshold is not given. A model that finds buildings one by one gives only
    footprints, each with its score. An interrupted run goes on with the same command.
    """
    from buildmap.inference.options import Prediction

    names, target = _inputs(ctx, raster, output, input_list)
    prediction = Prediction(
        models=_models(model),
        device=device,
        backend=_backend(precision, tta, max_memory, max_vram),
        bands=_numbers(bands),
        resample=not no_resample,
        bbox=box(bbox),
        aoi=aoi,
        window_px=window_px,
        halo_px=halo_px,
        skip_errors=on_error == "skip",
        threshold=threshold,
        outlining=outlining(
            hysteresis=hysteresis,
            split=split,
            seed=seed,
            outline=outline,
            method=method,
            simplify_m=simplify_m,
            min_area_m2=min_area_m2,
            min_hole_m2=min_hole_m2,
        ),
        grouping=grouping,
        min_score=min_score,
        valid=valid,
    )
    running = _running(overwrite, restart, wait, workers, dask, shard, finish)
    carry_out = _forecast if dry_run else _carry_out
    check_found(carry_out(names, target, prediction, running, json=json, quiet=quiet), fail_if_empty)


def _models(named: list[Path] | None) -> tuple[Path, ...]:
    from buildmap.inference.backend import builtin_model

    return tuple(named) if named else (builtin_model(),)


def _backend(
    precision: Precision, tta: Tta, max_memory: str | None, max_vram: str | None
) -> "BackendOptions":
    from buildmap.inference.devices import BackendOptions

    return BackendOptions(
        precision=precision,
        tta=tta,
        max_memory_bytes=size_bytes(max_memory),
        max_vram_bytes=size_bytes(max_vram),
    )


def _forecast(
    names: tuple[str, ...],
    output: Path,
    prediction: "Prediction",
    running: "Running",
    *,
    json: bool,
    quiet: bool,  # noqa: ARG001
) -> None:
    from buildmap.cli.console import report
    from buildmap.predict import dry_run

    report(dry_run(names, output, prediction, running), json=json)


def _carry_out(
    names: tuple[str, ...],
    output: Path,
    prediction: "Prediction",
    running: "Running",
    *,
    json: bool,
    quiet: bool,
) -> int | None:
    """Report what was done; give the number of footprints, None where there are none to count."""
    from buildmap.cli.console import progress, report
    from buildmap.errors import IncompleteError
    from buildmap.execution.drain import draining
    from buildmap.predict import predict as run

    with draining() as drain:
        summary = run(
            names,
            output,
            prediction,
            running,
            progress=progress(quiet=quiet),
            stop=lambda: drain.asked is not None,
        )
    report(summary, json=json)
    if summary.gaps:
        raise IncompleteError(
            f"{len(summary.gaps)} windows could not be read: there is no data there",
            hint="--json lists them; mend the raster and run again with --overwrite",
        )
    return summary.footprints


def _inputs(
    ctx: typer.Context, raster: str, output: Path | None, input_list: Path | None
) -> tuple[tuple[str, ...], Path]:
    """Sort out what is read and what is written; refuse options that would do nothing with it."""
    from buildmap.vector.writing.formats import is_vector

    names, target = _names(raster, output, input_list)
    if not is_vector(target) and (useless := given(ctx, _OF_FOOTPRINTS)):
        raise typer.BadParameter(f"{useless} would do nothing: {target} holds probability, not footprints")
    return names, target


def _names(raster: str, output: Path | None, input_list: Path | None) -> tuple[tuple[str, ...], Path]:
    """Give the rasters, and the output."""
    if input_list is None:
        if output is None:
            raise typer.BadParameter("Missing argument 'OUTPUT'.")
        return (raster,), output
    if output is not None:
        raise typer.BadParameter("with -i there is one argument, the OUTPUT")
    from buildmap.errors import InputError, MissingInput
    from buildmap.raster.source import read_names

    if str(input_list) == "-":
        names = read_names(sys.stdin)
    elif not input_list.is_file():
        raise MissingInput(f"{input_list} does not exist")
    else:
        try:
            with input_list.open(encoding="utf-8") as lines:
                names = read_names(lines)
        except UnicodeDecodeError as error:
            raise InputError(f"{input_list} is no list of rasters: it is not text in UTF-8") from error
    if not names:
        raise InputError(f"{input_list} lists no rasters")
    return names, Path(raster)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a list of band numbers such as 4,3,2") from error


def _running(
    overwrite: bool,
    restart: bool,
    wait: float,
    workers: int,
    dask: str | None,
    shard: str | None,
    finish: bool,
) -> "Running":
    from buildmap.inference.options import Running

    return Running(
        overwrite=overwrite,
        restart=restart,
        wait_s=wait,
        workers=workers,
        dask=dask,
        shard=_shard(shard),
        only_finish=finish,
    )


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    share, _, shares = text.partition("/")
    if not (re.fullmatch(r"\d{1,9}/\d{1,9}", text) and 1 <= int(share) <= int(shares)):
        raise typer.BadParameter(f"'{text}' is not a share such as 2/8")
    return int(share), int(shares)
