"""`buildmap describe`."""

from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import Json

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", readable=False, help="A model, or a raster or layer that buildmap has written."
    ),
]
Stac = Annotated[
    bool,
    typer.Option("--stac", help="Print a STAC Item, to lie beside FILE; a model's has the MLM extension."),
]


def describe(file: File, json: Json = False, stac: Stac = False) -> None:
    """Tell what a file is: a model's card, or what made a map, where it lies and how much is in it."""
    if json and stac:
        raise typer.BadParameter("--json and --stac are two answers: leave one out")
    from buildmap.describe import describe as run

    if stac:
        from json import dumps

        from buildmap.describe import describe_as_stac

        typer.echo(dumps(describe_as_stac(file), indent=2))
        return
    from buildmap.cli.console import report

    report(run(file), json=json)
