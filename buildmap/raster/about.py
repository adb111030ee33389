"""What the file of a raster says of itself, told without reading a pixel."""

from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from buildmap.errors import InputError
from buildmap.raster.coverage import check_has_bands
from buildmap.raster.dates import taken_on
from buildmap.raster.grid import Grid
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.sniff import sniff


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterFacts:
    """A raster in brief."""

    format: str
    """GDAL's name of it."""
    grid: Grid
    """Shape, transform and CRS."""
    bands: int
    """How many."""
    dtype: str
    """Type of the first band."""
    nodata: float | None
    """Value that stands for no data, where one does."""
    date: str | None
    """When the imagery was taken, YYYY-MM-DD, as far as it says."""
    made: str | None
    """Its tag `BUILDMAP`; None where it has none."""


def read_raster_facts(path: Path) -> RasterFacts:
    """Read what is written beside the pixels.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no raster, or only holds others.
    """
    driver = sniff(path)
    try:
        with unreferenced_is_fine(), rasterio.open(path, driver=driver) as dataset:
            check_has_bands(dataset, str(path))
            return RasterFacts(
                format=dataset.driver,
                grid=Grid(
                    width=dataset.width, height=dataset.height, transform=dataset.transform, crs=dataset.crs
                ),
                bands=dataset.count,
                dtype=dataset.dtypes[0],
                nodata=dataset.nodata,
                date=taken_on(dataset),
                made=dataset.tags().get("BUILDMAP"),
            )
    except (RasterioError, CPLE_BaseError) as error:
        raise InputError(f"{path} cannot be read as a raster: {error}") from error
