"""Findings of one pair, made of cells that are written down."""

import numpy as np
import rasterio
from numpy.typing import NDArray

from buildmap.metrics.cells import Cells
from buildmap.metrics.counts import PairCounts
from buildmap.metrics.histogram import Histogram
from buildmap.metrics.scoring import PairFindings
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM

CELL_PX = 10


def grid(rows: int, cols: int, *, col_off: int = 0) -> Grid:
    """Lay a grid of cells of 10 x 10 pixels."""
    return Grid(
        width=cols * CELL_PX,
        height=rows * CELL_PX,
        transform=ORIGIN.translation(col_off, 0) @ ORIGIN,
        crs=rasterio.CRS.from_string(UTM),
    )


def findings(
    pixels: NDArray[np.integer],
    objects: NDArray[np.integer] | None = None,
    *,
    on: Grid | None = None,
    window: Window | None = None,
) -> PairFindings:
    """Make findings of (rows, cols, 4) pixels and (rows, cols, 3) buildings per cell."""
    laid = on or grid(*pixels.shape[:2])
    cells = Cells.empty(window or laid.window, CELL_PX)
    cells.pixels[:] = pixels
    if objects is not None:
        cells.objects[:] = objects
    return PairFindings(
        counts=PairCounts(
            histogram=Histogram(),
            boundary=None,
            boundary_px=1,
            similarity=None,
            objects=None,
            topology=None,
            regions={},
        ),
        cells=cells,
        grid=laid,
        gsd_m=0.5,
        alignment=None,
        comparison=None,
    )
