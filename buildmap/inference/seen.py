"""The ground that was seen where buildings are found one by one: no probability tells of it afterwards.

Such models predict at scale 1, so the raster's pixels are the predicted ones.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from buildmap.errors import Stopped
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.job import Job
from buildmap.raster.area import Area
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.valid_area import ValidArea

_AHEAD = 2


def seen_ground(
    job: Job,
    reader: RasterReader,
    gaps: Sequence[Window],
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[NDArray[np.object_]]:
    """Read once more what is valid, core by core, and trace the ground of it.

    Args:
        job: What was predicted.
        reader: Its raster, open.
        gaps: Cores that could not be read: they are not tried again.
        progress: Hears of every row of cores.
        stop: Once it says True, no further core is read.

    Yields:
        Polygons on the map, (n,), at least one batch.

    Raises:
        StorageError: If the raster cannot be read.
        Stopped: If `stop` said so before all was done.
    """
    plan = job.cutting.plan
    ground = ValidArea(plan.width, transform=reader.grid.transform)
    read = partial(_valid, reader, job.area_on(reader.grid), frozenset(gaps))
    progress.start("valid", plan.rows)
    with closing(prefetch(read, (planned.core for planned in plan), workers=1, ahead=_AHEAD)) as parts:
        row: list[NDArray[np.bool_]] = []
        for part in parts:
            if stop():
                raise Stopped(
                    "interrupted while valid ground was traced", hint="run the same command again to resume"
                )
            row.append(part)
            if len(row) == plan.columns:
                ground.push(np.concatenate(row, axis=1))
                yield ground.take()
                progress.advance()
                row = []
    ground.finish()
    yield ground.take()


def _valid(
    reader: RasterReader, area: Area | None, gaps: frozenset[Window], core: Window
) -> NDArray[np.bool_]:
    """Tell of each pixel of a core whether it has data and is wanted."""
    shape = core.height, core.width
    is_wanted = core not in gaps and (area is None or area.touches(core))
    if not is_wanted or not reader.has_data(core):
        return np.zeros(shape, np.bool_)
    valid = np.ones(shape, np.bool_) if reader.all_valid else reader.read(core).valid
    return valid if area is None else valid & ~area.outside(core)
