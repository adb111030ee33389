"""Options shared by commands: one definition per flag."""

from pathlib import Path
from typing import Annotated

import typer

RasterPath = Annotated[Path, typer.Argument(metavar="RASTER", help="Any raster GDAL reads.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print one summary object on stdout.")]
Aoi = Annotated[
    Path | None, typer.Option("--aoi", help="Vector file, any CRS: only what lies inside its polygons counts.")
]
Threshold = Annotated[
    float | None, typer.Option("--threshold", min=0, max=1, help="Probability from which a pixel is a building.")
]
