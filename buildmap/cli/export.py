"""`buildmap export`."""

from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import Json, Overwrite

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL.safetensors", readable=False, help="Model made by `buildmap train`."),
]
Output = Annotated[Path, typer.Argument(metavar="MODEL.onnx", readable=False, help="Runs without torch.")]


def export(model: Model, output: Output, overwrite: Overwrite = False, json: Json = False) -> None:
    """Write a trained model as ONNX.

    The file runs without torch, and is checked to give the same probabilities.
    """
    from buildmap.cli.console import report
    from buildmap.export import export as run

    report(run(model, output, overwrite=overwrite), json=json)
