"""One side of a comparison, raster or layer, seen as building pixels and as building polygons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from buildmap.errors import InputError, MissingInput
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.metrics.ground import Ground, meets, polygons_on
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Grid, show_bounds
from buildmap.raster.probability import to_probability
from buildmap.raster.reader import RasterReader
from buildmap.raster.warp import WarpedReader, bounds_on, is_same_grid
from buildmap.raster.windows import Window
from buildmap.vector.outlines import OutlineTracer
from buildmap.vector.polygons import to_map
from buildmap.vector.reader import read_footprints

MASK_BAND = 1
"""The band of a raster that is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of the compared window."""

    mask: NDArray[np.bool_]
    """(rows, cols), True = building; False where not valid."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data."""


class Side(Protocol):
    """What was predicted, or what is true."""

    def read(self, window: Window) -> Rows:
        """Give a window of the grid."""

    def polygons(self, strips: list[Window], progress: Progress) -> NDArray[np.object_]:
        """Give the buildings as (n,) polygons in the CRS of the grid.

        Args:
            strips: Cut the compared window, from top to bottom.
            progress: Hears of every strip that is read.
        """


def open_raster(path: Path) -> RasterReader | None:
    """Open a raster of building probability or a mask; None if the file is no raster, so maybe a layer.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is a raster that cannot be used.
    """
    try:
        return RasterReader(path, bands=(MASK_BAND,))
    except MissingInput:
        raise
    except InputError as error:
        if isinstance(error.__cause__, RasterioIOError):
            return None
        raise


class LayerSide:
    """A vector layer, drawn into pixels where they are asked for."""

    def __init__(self, path: Path, ground: Ground) -> None:
        """Read the polygons that touch the compared window.

        Raises:
            InputError: If the layer cannot be read, or lies elsewhere altogether.
        """
        self._ground = ground
        self._polygons = polygons_on(ground.grid, path, bounds=ground.bounds)
        self._index = FootprintIndex(self._polygons)
        if len(self._polygons) == 0 and ground.regions is None:
            _check_place(path, ground)

    def read(self, window: Window) -> Rows:
        """Draw the polygons; a layer is valid everywhere."""
        mask = self._index.burn(
            transform=self._ground.transform(window), height=window.height, width=window.width
        )
        return Rows(mask=mask, valid=np.ones_like(mask))

    def polygons(self, strips: list[Window], progress: Progress) -> NDArray[np.object_]:
        """Give the polygons as they are in the layer; nothing is read."""
        del strips, progress
        return self._polygons


class RasterSide:
    """A raster of probability, or a mask, on the compared grid."""

    def __init__(self, reader: RasterReader, ground: Ground, *, lowest: int) -> None:
        """Bring a raster to the grid.

        Args:
            reader: Of the raster; it stays the caller's.
            ground: What is compared.
            lowest: Values of 0..254 from this one on are buildings.
        """
        self._path = reader.path
        self._scale = reader.scale
        self._ground = ground
        self._lowest = lowest
        self._reader: RasterReader | WarpedReader = reader
        self._warped: WarpedReader | None = None
        if not is_same_grid(reader.grid, ground.grid):
            self._reader = self._warped = WarpedReader(reader.path, ground.grid, band=MASK_BAND)

    def close(self) -> None:
        """Close what was opened here."""
        if self._warped is not None:
            self._warped.close()

    def read(self, window: Window) -> Rows:
        """Read and threshold.

        Raises:
            StorageError: If the file cannot be read there.
        """
        image = self._reader.read(window)
        steps = to_probability(image.pixels[0], scale=self._scale)
        return Rows(mask=(steps >= self._lowest) & image.valid, valid=image.valid)

    def polygons(self, strips: list[Window], progress: Progress) -> NDArray[np.object_]:
        """Trace the 4-connected buildings along their pixel edges."""
        tracer = OutlineTracer(strips[0].width, lowest=1)
        progress.start(f"trace {self._path.name}", len(strips))
        parts = []
        for rows in prefetch(self.read, strips, workers=1, ahead=2):
            parts.append(tracer.push(rows.mask.view(np.uint8)).polygons)
            progress.advance()
        parts.append(tracer.finish().polygons)
        return to_map(np.concatenate(parts), self._ground.transform(strips[0]))


def overlap(reader: RasterReader, grid: Grid) -> Window:
    """Give the part of a grid that a raster covers.

    Raises:
        InputError: If there is none, or the raster cannot be placed on the grid.
    """
    if is_same_grid(reader.grid, grid):
        return grid.window
    there, here = (_is_placed(reader.grid), _is_placed(grid))
    if not there and not here:
        raise InputError(
            f"{reader.path} has {reader.grid.width} x {reader.grid.height} pixels, the other raster "
            f"{grid.width} x {grid.height}, and both have no georeference"
        )
    if not there or not here:
        known, unknown = ("it", "what it is compared with") if there else ("what it is compared with", "it")
        raise InputError(
            f"{reader.path}: {unknown} has no CRS or no transform, {known} has",
            hint="rio edit-info --crs EPSG:CODE --transform '[...]' RASTER",
        )
    bounds = bounds_on(grid, reader.grid)
    window = grid.window_over(bounds)
    if window is None:
        raise InputError(
            f"{reader.path} does not touch the ground it is compared with: "
            f"extents {show_bounds(bounds)} and {show_bounds(grid.bounds)}"
        )
    return window


def _is_placed(grid: Grid) -> bool:
    return grid.crs is not None and not grid.transform.is_identity


def _check_place(path: Path, ground: Ground) -> None:
    """Tell a layer of somewhere else from one that has nothing here."""
    footprints = read_footprints(path, crs=ground.grid.crs)
    everything = footprints.polygons
    if len(everything) == 0:
        if lost := footprints.repairs.dropped:
            raise InputError(f"{path}: none of {lost} geometries gives a polygon in {ground.grid.crs}")
        return
    left, bottom, right, top = shapely.total_bounds(everything).tolist()
    if not meets((left, bottom, right, top), ground.grid.bounds):
        raise InputError(
            f"{path} does not touch the ground it is compared with: "
            f"extents {show_bounds((left, bottom, right, top))} and {show_bounds(ground.grid.bounds)}",
            hint="choose the ground to compare with --aoi",
        )
