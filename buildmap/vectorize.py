"""The story of `buildmap vectorize`: a raster of probability, or a mask, becomes a layer of footprints."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildmap.errors import InputError
from buildmap.execution.memory import bound_block_cache
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress, Silent
from buildmap.provenance import Provenance, fingerprint_file
from buildmap.publish import check_distinct, staged
from buildmap.raster.blend import NODATA
from buildmap.raster.probability import to_probability
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.raster.writer import BLOCK_PX
from buildmap.vector.crs import as_crs
from buildmap.vector.footprint import footprints
from buildmap.vector.outlining import Outlining
from buildmap.vector.writer import FootprintWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_STRIP_PX = 2**25


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorizeSummary:
    """What was done."""

    output: str
    """The file written."""
    layer: str
    """The layer in it."""
    footprints: int
    """Buildings written."""
    area_m2: float
    """Their area on the ground."""
    width_px: int
    """Columns read."""
    height_px: int
    """Rows read."""
    seconds: float
    """Wall time."""


def vectorize(
    raster: Path,
    output: Path,
    settings: Outlining | None = None,
    *,
    layer: str = "footprints",
    assume_crs: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VectorizeSummary:
    """Draw footprints around the buildings of a raster of any size.

    The raster has one band. uint8 with a scale of 1/254 is probability as `predict` writes it, floating
    point is probability 0..1, and any other integers are a mask, in which what is not zero is a
    building. What is not valid is never a building.

    Args:
        raster: Probability or mask.
        output: A GeoPackage; it appears only when it is whole.
        settings: How footprints are drawn; from a probability of one half when None.
        layer: Name of the layer.
        assume_crs: Of a raster that does not say.
        overwrite: Replace an existing output.
        progress: Hears of every strip.

    Raises:
        InputError: If the raster cannot be used, or the output is no GeoPackage.
        OutputError: If the output exists already, or cannot be created.
        LockedError: If another run is writing it.
        StorageError: If reading or writing fails.
    """
    started = time.monotonic()
    settings = settings or Outlining()
    check_distinct(output, raster)
    with RasterReader(raster) as reader, staged(output, overwrite=overwrite) as folder:
        crs = _check(reader, assume_crs)
        writer = FootprintWriter(
            folder / output.name, crs=crs, layer=layer, provenance=_provenance(raster, settings)
        )
        area_m2 = 0.0
        with writer:
            strips = _strips(reader, progress or Silent())
            for batch in footprints(strips, transform=reader.grid.transform, crs=crs, settings=settings):
                writer.write(batch)
                area_m2 += float(batch.area_m2.sum())
    return VectorizeSummary(
        output=str(output),
        layer=layer,
        footprints=writer.count,
        area_m2=round(area_m2, 2),
        width_px=reader.grid.width,
        height_px=reader.grid.height,
        seconds=round(time.monotonic() - started, 2),
    )


def _check(reader: RasterReader, assume_crs: str | None) -> object:
    """Refuse a raster that is no map of buildings; give the CRS to work in."""
    grid = reader.grid
    if len(reader.bands) != 1:
        raise InputError(
            f"{reader.path} has {len(reader.bands)} bands, probability or a mask has 1",
            hint=f"gdal_translate -b 1 '{reader.path}' one_band.tif",
        )
    if grid.transform.is_identity:
        raise InputError(
            f"{reader.path} has no georeference", hint="gdal_translate -a_ullr LEFT TOP RIGHT BOTTOM ..."
        )
    if grid.crs is None and assume_crs is None:
        raise InputError(f"{reader.path} has no CRS", hint="pass --assume-crs EPSG:CODE if you know it")
    if grid.crs is None or assume_crs is None:
        grid.pixel_size_m()  # refuses a CRS in which this ground has no place
        return grid.crs if assume_crs is None else as_crs(assume_crs)
    if as_crs(grid.crs) != as_crs(assume_crs):
        raise InputError(
            f"{reader.path} is in {grid.crs}, not in {assume_crs}", hint="leave out --assume-crs"
        )
    return grid.crs


def _strips(reader: RasterReader, progress: Progress) -> "Iterator[NDArray[np.uint8]]":
    """Read strips of 0..254 for probability and 255 for no data, one ahead in a thread."""
    grid = reader.grid
    bound_block_cache(2 * BLOCK_PX * grid.width * reader.dtype.itemsize)
    rows = BLOCK_PX
    while rows > 64 and rows * grid.width > _STRIP_PX:
        rows //= 2
    windows = [
        Window(col_off=0, row_off=row, width=grid.width, height=min(rows, grid.height - row))
        for row in range(0, grid.height, rows)
    ]
    progress.start("vectorize", len(windows))
    for strip in prefetch(lambda window: _read_strip(reader, window), windows, workers=1, ahead=2):
        yield strip
        progress.advance()


def _read_strip(reader: RasterReader, window: Window) -> "NDArray[np.uint8]":
    image = reader.read(window)
    strip = to_probability(image.pixels[0], scale=reader.scale)
    strip[~image.valid] = NODATA
    return strip


def _provenance(raster: Path, settings: Outlining) -> Provenance:
    return Provenance(
        verb="vectorize",
        source=raster.name,
        source_fingerprint=fingerprint_file(raster) if raster.is_file() else "",
        options=" ".join(
            f"{name}={getattr(settings, name)}"
            for name in ("threshold", "simplify_m", "min_area_m2", "min_hole_m2")
        ),
    )
