"""`buildmap demo`."""

from pathlib import Path
from typing import Annotated

import typer

from buildmap.cli.options import Json, Overwrite, Quiet

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to put everything; made if absent.")]


def demo(
    folder: Folder = Path("buildmap-demo"),
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Map and score a small real scene.

    The built-in model has not learned from it.
    """
    from buildmap.cli.console import progress, report
    from buildmap.demo import commands
    from buildmap.demo import demo as run

    summary = run(folder, overwrite=overwrite, progress=progress(quiet=quiet))
    report(summary, json=json)
    if not json:
        typer.echo("\ndo it yourself:")
        for command in commands(folder):
            typer.echo(f"  {command}")
