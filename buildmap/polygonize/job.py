"""Polygonizing a raster as a value: what any process or machine needs to draw a band of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from itertools import product
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.execution.memory import bound_block_cache
from buildmap.raster.probability import to_probability
from buildmap.raster.reader import RasterReader
from buildmap.raster.source import Source
from buildmap.raster.windows import Window
from buildmap.raster.writer import BLOCK_PX
from buildmap.vector.crs import as_crs
from buildmap.vector.drawn import Drawn
from buildmap.vector.outlining import Outlining
from buildmap.vector.spool import pack
from buildmap.vector.tracing.bands import crop_band, trace_band
from buildmap.vector.tracing.outlines import Outlines
from buildmap.vector.tracing.trace import NODATA

_BAND_PX = 2**24
_CACHE_BYTES = 2**26
"""Holds the blocks of a window that is read, and rows of a striped raster of 131 072 columns."""
_FEWEST_BANDS = 8
_READ_COLS = 2**13
_CACHED_PX = 2**16
"""Pixels whose intermediate results stay close to the processor."""

Crop = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Gives the values from columns and rows (left, top) up to (right, bottom), 255 where unknown."""


class Draw(Protocol):
    """Draws the footprints of some components, each as if it were alone; a function that can be pickled."""

    def __call__(
        self, outlines: Outlines, crop: Crop, *, transform: Affine, crs: CRS, settings: Outlining
    ) -> Drawn: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BandJob:
    """Small, picklable, and equal for equal work."""

    source: Source
    """The raster: one band of probability, or a mask."""
    width: int
    """Columns of its grid."""
    height: int
    """Rows of its grid."""
    band_rows: int
    """Rows of a band; the last may have fewer."""
    lowest: int
    """Values from this one to 254 are buildings."""
    settings: Outlining
    """How footprints are drawn."""
    transform: Affine
    """Pixel corners (col, row) to coordinates (x, y)."""
    crs: str
    """Of these coordinates, as WKT or a code."""

    @property
    def bands(self) -> int:
        """Number of bands."""
        return -(-self.height // self.band_rows)

    def rows(self, index: int) -> tuple[int, int]:
        """Give the first row of a band, and how many it has."""
        first = index * self.band_rows
        return first, min(self.band_rows, self.height - first)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandTask:
    """Draws one band in a process of its own, which keeps the raster open for the next."""

    job: BandJob
    """Of which the band is a part."""
    draw: Draw
    """Draws footprints."""

    def __call__(self, index: int) -> bytes:
        """Draw band `index`; give what `spool.save` writes.

        Raises:
            StorageError: If the raster cannot be read there.
        """
        return draw_band(self.job, self.draw, index, read_band(_opened(self.job.source), self.job, index))


def rows_per_band(width: int, height: int, pixel_bytes: int = 1, *, band_px: int = _BAND_PX) -> int:
    """Choose a height of bands: whole blocks, much less than memory, and enough bands for several workers.

    In a very wide raster it is half a block, if the other halves are sure to wait in the cache.

    It does not depend on the number of workers, so that a run can be gone on with by more of them.

    Args:
        width: Columns of the raster.
        height: Rows of the raster.
        pixel_bytes: Size of one of its pixels.
        band_px: Pixels of the largest band, where it has more than one row of blocks.
    """
    if width * BLOCK_PX > band_px and 2 * width * BLOCK_PX * pixel_bytes <= _CACHE_BYTES:
        return BLOCK_PX // 2
    rows = min(band_px // width, height // _FEWEST_BANDS)
    return max(rows // BLOCK_PX, 1) * BLOCK_PX


def plan_facts(job: BandJob) -> dict[str, str]:
    """Name everything a band depends on: work is gone on with only where all of it is the same."""
    return {
        "format": "1",
        "input": job.source.fingerprint(),
        "grid": f"{job.width} x {job.height} at {tuple(job.transform)[:6]}",
        "crs": job.crs,
        **{field.name: str(getattr(job.settings, field.name)) for field in fields(job.settings)},
        "lowest": str(job.lowest),
        "band_rows": str(job.band_rows),
    }


def open_source(source: Source) -> RasterReader:
    """Open a raster that is read in bands; close it after use.

    Raises:
        InputError: As `Source.open`.
    """
    bound_block_cache(_CACHE_BYTES)  # first: opening may look at a pixel, and then it is too late
    return source.open()


def read_band(reader: RasterReader, job: BandJob, index: int) -> NDArray[np.uint8]:
    """Read a band as (rows, width) 0..254 for probability and 255 for no data.

    Raises:
        StorageError: If the raster cannot be read there.
    """
    first, rows = job.rows(index)
    values = np.empty((rows, job.width), np.uint8)
    # parts of rows, because where some of a country is missing, a whole row of it hardly ever is
    for row, col in product(range(0, rows, BLOCK_PX), range(0, job.width, _READ_COLS)):
        part = values[row : row + BLOCK_PX, col : col + _READ_COLS]
        height, width = part.shape
        window = Window(col_off=col, row_off=first + row, width=width, height=height)
        if not reader.has_data(window):
            part[:] = NODATA
            continue
        image = reader.read(window)
        lines = max(_CACHED_PX // width, 1)
        for line in range(0, height, lines):
            some = np.s_[line : line + lines]
            part[some] = to_probability(image.pixels[0, some], scale=reader.scale)
            if not reader.all_valid:
                part[some] |= (~image.valid[some]).view(np.uint8) * np.uint8(NODATA)
    return values


def draw_band(job: BandJob, draw: Draw, index: int, values: NDArray[np.uint8]) -> bytes:
    """Draw the footprints of a band that was read; give what `spool.save` writes."""
    first, rows = job.rows(index)
    traced = trace_band(
        values,
        first,
        above=index > 0,
        below=first + rows < job.height,
        lowest=job.lowest,
    )

    def crop(left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
        return crop_band(values, first, (left, top, right, bottom))

    return pack(drawer(job, draw)(traced.finished, crop), traced.cut)


def drawer(job: BandJob, draw: Draw) -> Callable[[Outlines, Crop], Drawn]:
    """Give `draw` all that is the same for the whole raster."""
    return partial(draw, transform=job.transform, crs=as_crs(job.crs), settings=job.settings)


@lru_cache(maxsize=1)
def _opened(source: Source) -> RasterReader:
    return open_source(source)
