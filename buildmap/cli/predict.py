"""`buildmap predict`."""

from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import (
    Device,
    Json,
    MinAreaM2,
    MinHoleM2,
    Overwrite,
    Quiet,
    RasterPath,
    SimplifyM,
    Threshold,
    outlining,
)

Output = Annotated[
    Path,
    typer.Argument(metavar="OUTPUT", readable=False, help="Probability (.tif) or footprints (.gpkg)."),
]
ModelFile = Annotated[
    Path | None,
    typer.Option(
        "--model", readable=False, help="Model file, .onnx or .safetensors; the built-in one if absent."
    ),
]
Bands = Annotated[
    str | None, typer.Option("--bands", metavar="B,B,...", help="1-based bands, in the model's order.")
]
NoResample = Annotated[
    bool, typer.Option("--no-resample", help="Keep the raster's pixels, whatever GSD the model knows.")
]


def predict(
    raster: RasterPath,
    output: Output,
    model: ModelFile = None,
    bands: Bands = None,
    no_resample: NoResample = False,
    device: Device = "auto",
    threshold: Threshold = None,
    simplify_m: SimplifyM = None,
    min_area_m2: MinAreaM2 = 5.0,
    min_hole_m2: MinHoleM2 = 5.0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict buildings over a raster.

    A .tif as OUTPUT holds probability, 0..254 and 255 for no data; a .gpkg holds footprints, from the
    model's own threshold if --threshold is not given.
    """
    from buildmap.cli.console import progress, report
    from buildmap.inference.backend import builtin_model
    from buildmap.predict import Prediction
    from buildmap.predict import predict as run

    prediction = Prediction(
        model=model or builtin_model(),
        device=device,
        bands=_numbers(bands),
        resample=not no_resample,
        threshold=threshold,
        outlining=outlining(0.5, simplify_m, min_area_m2, min_hole_m2),
    )
    summary = run(raster, output, prediction, overwrite=overwrite, progress=progress(quiet=quiet))
    report(summary, json=json)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a list of band numbers such as 4,3,2") from error
