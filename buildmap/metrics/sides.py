"""One side of a comparison, raster or layer, seen as pixels of probability and as building polygons."""

from collections.abc import Iterator
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
from buildmap.metrics.ground import Ground, layer_on, meets
from buildmap.metrics.histogram import STEPS
from buildmap.raster.burn import burn
from buildmap.raster.grid import Grid, show_bounds
from buildmap.raster.probability import to_probability
from buildmap.raster.reader import RasterReader
from buildmap.raster.warp import WarpedReader, bounds_on, is_same_grid
from buildmap.raster.windows import Window
from buildmap.vector.polygons import to_map
from buildmap.vector.reader import column_names, read_footprints
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.outlines import Outlines, OutlineTracer

MASK_BAND = 1
"""The band of a raster that is compared."""
_INVALID = np.uint8(255)

CONFIDENCE = ("confidence", "score")
"""Columns of a layer that may say how sure it is of each building; the first that is there is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of the compared window."""

    values: NDArray[np.uint8]
    """(rows, cols) probability as 0..254; anything where not valid."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildings:
    """The buildings of one side."""

    store: PolygonStore
    """n polygons in the CRS of the grid."""
    confidence: NDArray[np.float64] | None
    """(n,) how sure the prediction is of each, the higher the surer; None where nothing says."""


class Side(Protocol):
    """What was predicted, or what is true."""

    def read(self, window: Window) -> Rows:
        """Give a window of the grid."""

    def buildings(self, strips: list[Window], progress: Progress) -> Buildings:
        """Give the buildings.

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


def lowest_true(lowest: int) -> int:
    """Give the lowest value of a true building: at a threshold of 0 too, background is none.

    Args:
        lowest: Predicted values of 0..254 from this one on are buildings.
    """
    return max(lowest, 1)


class LayerSide:
    """A vector layer, drawn into pixels where they are asked for."""

    def __init__(self, path: Path, ground: Ground) -> None:
        """Read the polygons that touch the compared window.

        Raises:
            InputError: If the layer cannot be read, or lies elsewhere altogether.
        """
        self._ground = ground
        columns = [name for name in CONFIDENCE if name in column_names(path)][:1]
        confidence: list[NDArray[np.float64]] = []
        self._store = PolygonStore.gather(_polygons(path, ground, columns, confidence))
        self._confidence = np.concatenate(confidence) if confidence else None
        if len(self._store) == 0 and ground.regions is None:
            _check_place(path, ground)

    def read(self, window: Window) -> Rows:
        """Draw the polygons; a layer is valid everywhere."""
        part = self._ground.grid.part(window)
        left, bottom, right, top = part.bounds
        west, south, east, north = self._store.bounds.T
        near = np.flatnonzero((west <= right) & (east >= left) & (south <= top) & (north >= bottom))
        mask = burn(
            self._store.take(near), transform=part.transform, height=window.height, width=window.width
        )
        return Rows(values=mask.view(np.uint8) * np.uint8(STEPS), valid=np.ones_like(mask))

    def buildings(self, strips: list[Window], progress: Progress) -> Buildings:
        """Give the polygons as they are in the layer; nothing is read."""
        del strips, progress
        return Buildings(store=self._store, confidence=self._confidence)


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
            self._reader = self._warped = WarpedReader(reader.path, ground.grid, bands=(MASK_BAND,))

    def close(self) -> None:
        """Close what was opened here."""
        if self._warped is not None:
            self._warped.close()

    def read(self, window: Window) -> Rows:
        """Read.

        Raises:
            StorageError: If the file cannot be read there.
        """
        image = self._reader.read(window)
        return Rows(values=to_probability(image.pixels[0], scale=self._scale), valid=image.valid)

    def buildings(self, strips: list[Window], progress: Progress) -> Buildings:
        """Trace the 4-connected buildings along pixel edges; the mean of their pixels is the confidence.

        A mask says nothing: it is everywhere as sure as can be.
        """
        confidence: list[NDArray[np.float64]] = []
        store = PolygonStore.gather(self._traced(strips, progress, confidence))
        means = np.concatenate(confidence)
        return Buildings(store=store, confidence=means if (means < 1).any() else None)

    def _traced(
        self, strips: list[Window], progress: Progress, confidence: list[NDArray[np.float64]]
    ) -> Iterator[NDArray[np.object_]]:
        tracer = OutlineTracer(strips[0].width, lowest=self._lowest)
        transform = self._ground.grid.part(strips[0]).transform
        progress.start(f"trace {self._path.name}", len(strips))

        def place(outlines: Outlines) -> NDArray[np.object_]:
            confidence.append(outlines.total / (STEPS * outlines.pixels))
            return to_map(outlines.polygons, transform)

        for rows in prefetch(self.read, strips, workers=1, ahead=2):
            yield place(tracer.push(np.where(rows.valid, rows.values, _INVALID)))
            progress.advance()
        yield place(tracer.finish())


def _polygons(
    path: Path, ground: Ground, columns: list[str], confidence: list[NDArray[np.float64]]
) -> Iterator[NDArray[np.object_]]:
    """Read the polygons near the compared window in the CRS of the grid, and how sure the layer is."""
    for batch in layer_on(ground.grid, path, bounds=ground.bounds, columns=columns):
        has_area = shapely.area(batch.polygons) > 0  # not what is so thin that rounding leaves none
        confidence.extend(
            values[has_area].astype(np.float64)
            for values in batch.columns.values()
            if values.dtype.kind in "iuf"
        )
        yield batch.polygons[has_area]


def overlap(reader: RasterReader, grid: Grid) -> Window:
    """Give the part of a grid that a raster covers.

    Raises:
        InputError: If there is none, or the raster cannot be placed on the grid.
    """
    if is_same_grid(reader.grid, grid):
        return grid.window
    there, here = reader.grid.is_placed, grid.is_placed
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
