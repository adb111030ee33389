"""`buildmap train`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import Device, Json, Overwrite, PresetName, Quiet
from buildmap.preset import find_preset

DataFolder = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder with the preset's sources, or with images/ and labels/."),
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.safetensors", readable=False, help="Model file; metrics lie beside it in MODEL.run/."
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs, in place of the preset's.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Begin anew, whatever an interrupted run has left in MODEL.run/.")
]


def train(
    data: DataFolder,
    output: Output,
    preset: PresetName,
    epochs: Epochs = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    restart: Restart = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a model from rasters and annotations.

    The same command, given again, goes on where an interrupted one ended.
    """
    chosen = find_preset(preset)
    if epochs is not None:
        chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    from buildmap.cli.console import progress, report
    from buildmap.train import train as run

    summary = run(
        data,
        output,
        chosen,
        overwrite=overwrite,
        restart=restart,
        device=device,
        progress=progress(quiet=quiet),
    )
    report(summary, json=json)
