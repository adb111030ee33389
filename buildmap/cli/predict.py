"""`buildmap predict`."""

from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import Device, Json, Overwrite, Quiet, RasterPath, Threshold

Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="Probability (.tif) or footprints (.gpkg).")]
ModelFile = Annotated[
    Path | None,
    typer.Option("--model", help="Model file, .onnx or .safetensors; the built-in one if absent."),
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
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict buildings over a raster of any size."""
    from buildmap.cli.console import progress, report
    from buildmap.inference.backend import builtin_model
    from buildmap.predict import Prediction
    from buildmap.predict import predict as run
    from buildmap.vector.footprint import Outlining

    prediction = Prediction(
        model=model or builtin_model(),
        device=device,
        bands=_numbers(bands),
        resample=not no_resample,
        outlining=None if threshold is None else Outlining(threshold=threshold),
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
