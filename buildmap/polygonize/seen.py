"""The ground on which a raster has data: a second pass over the bands, of what is valid in them only."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import Stopped
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.polygonize.job import BandJob, read_band
from buildmap.raster.area import Area
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.tracing.trace import NODATA
from buildmap.vector.valid_area import ValidArea


def seen_ground(
    job: BandJob,
    reader: RasterReader,
    *,
    area: NDArray[np.object_] | None,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[NDArray[np.object_]]:
    """Trace the ground on which footprints could have been drawn, the same for any bands.

    Args:
        job: What was drawn.
        reader: Its raster, open.
        area: (n,) polygons in the raster's CRS, outside of which nothing was looked at; None for no bounds.
        progress: Hears of every band.
        stop: Once it says True, no band is begun any more.

    Returns:
        At least one batch, (n,) polygons on the map each.

    Raises:
        InputError: If the area does not touch the raster.
        StorageError: While iterating, if the raster cannot be read.
        Stopped: While iterating, if `stop` said so before all was done.
    """
    wanted = None if area is None else Area(area, reader.grid)
    return _seen(job, partial(_valid, reader, job, wanted), progress, stop)


def _seen(
    job: BandJob, valid: Callable[[int], NDArray[np.bool_]], progress: Progress, stop: Callable[[], bool]
) -> Iterator[NDArray[np.object_]]:
    ground = ValidArea(job.width, transform=job.transform)
    progress.start("valid", job.bands)
    with closing(prefetch(valid, range(job.bands), workers=1, ahead=1)) as bands:
        for step, band in enumerate(bands):
            if stop():
                raise Stopped(
                    f"interrupted after the valid ground of {step}/{job.bands} bands",
                    hint="run the same command again to resume",
                )
            ground.push(band)
            yield ground.take()
            progress.advance()
    ground.finish()
    yield ground.take()


def _valid(reader: RasterReader, job: BandJob, wanted: Area | None, index: int) -> NDArray[np.bool_]:
    """Tell of each pixel of a band whether it has data and is wanted."""
    first, rows = job.rows(index)
    window = Window(col_off=0, row_off=first, width=job.width, height=rows)
    if wanted is not None and not wanted.touches(window):
        return np.zeros((rows, job.width), np.bool_)
    valid = np.ones((rows, job.width), np.bool_)
    if not reader.all_valid:
        np.not_equal(read_band(reader, job, index), NODATA, out=valid)
    if wanted is not None:
        valid &= ~wanted.outside(window)
    return valid
