"""Scoring one prediction against its truth, strip by strip."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.execution.memory import bound_block_cache
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.metrics.confusion import Confusion, count
from buildmap.metrics.ground import Box, Ground, grid_over_layers, ground_on
from buildmap.metrics.instances import Instances, count_instances
from buildmap.metrics.sides import LayerSide, RasterSide, Rows, Side, open_raster, overlap
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.footprint import lowest_value
from buildmap.vector.matching import match
from buildmap.vector.measures import area_and_perimeter

IOU_MIN = 0.5
"""Two footprints are the same building from this intersection over union on."""
_STRIP_PX = 2**23
_STRIP_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is compared, and how."""

    threshold: float = 0.5
    """Probability from which a pixel is a building, 0..1."""
    aoi: Path | None = None
    """Layer of polygons: only ground inside them counts."""
    bbox: Box | None = None
    """Left, bottom, right, top in the CRS of the compared grid: only ground inside counts."""
    gsd_m: float = 0.3
    """Side of a pixel in metres where both sides are layers."""
    min_area_m2: float = 0.0
    """Smaller buildings are no objects, on either side; their pixels count."""
    strip_rows: int | None = None
    """Rows read at a time; None chooses by the width. The scores do not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """What one prediction got right and wrong."""

    confusion: Confusion
    """Pixels."""
    instances: Instances
    """Buildings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objects:
    """The buildings of one side, and which of them lie on the ground that counts."""

    polygons: NDArray[np.object_]
    """(n,) in the CRS of the grid."""
    cols: NDArray[np.int64]
    """(n,) pixel column of a point inside each."""
    rows: NDArray[np.int64]
    """(n,) pixel row of the same point, ascending."""
    counted: NDArray[np.bool_]
    """(n,) filled in while the ground streams by."""

    def count_on(self, counted: NDArray[np.bool_], window: Window) -> None:
        """Note the buildings whose points lie on counted pixels of a window."""
        first, last = np.searchsorted(self.rows, [window.row_off, window.row_off + window.height])
        cols, rows = self.cols[first:last] - window.col_off, self.rows[first:last] - window.row_off
        inside = (cols >= 0) & (cols < window.width)
        self.counted[first:last][inside] = counted[rows[inside], cols[inside]]


def score_pair(prediction: Path, truth: Path, evaluation: Evaluation, *, progress: Progress) -> PairCounts:
    """Compare a prediction with its truth, each a raster or a layer.

    The grid is the truth's, if that is a raster, or else the prediction's, or else one in UTM over the
    area of interest or the truth. A pixel counts where both sides are valid and it lies on the ground
    asked for; a building, where a point inside it does.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used, or the two have no ground in common.
        StorageError: If reading fails.
    """
    with ExitStack() as opened:
        ground, sides = _open(prediction, truth, evaluation, opened)
        strips = _cut(ground.window, evaluation.strip_rows)
        predicted, true = (_objects(side.polygons(strips, progress), ground, evaluation) for side in sides)
        progress.start(f"compare {prediction.name}", len(strips))
        confusion = Confusion()
        for window, rows in zip(strips, _compared(sides, strips), strict=True):
            counted = ground.counts(window) & rows[0].valid & rows[1].valid
            confusion += count(rows[0].mask, rows[1].mask, counted)
            predicted.count_on(counted, window)
            true.count_on(counted, window)
            progress.advance()
    if confusion == Confusion():
        raise InputError(f"{prediction} and {truth} have no valid pixel in common on the ground asked for")
    matches = match(predicted.polygons, true.polygons, iou_min=IOU_MIN)
    instances = count_instances(matches, prediction_counted=predicted.counted, truth_counted=true.counted)
    return PairCounts(confusion=confusion, instances=instances)


def _open(
    prediction: Path, truth: Path, evaluation: Evaluation, opened: ExitStack
) -> tuple[Ground, tuple[Side, Side]]:
    """Choose the grid, and bring both sides to it."""
    readers = [open_raster(path) for path in (prediction, truth)]
    for reader in readers:
        if reader is not None:
            opened.enter_context(reader)
    reference = readers[1] or readers[0]
    if reference is None:
        layers = [truth, prediction] if evaluation.aoi is None else [evaluation.aoi, truth, prediction]
        grid = grid_over_layers(layers, gsd_m=evaluation.gsd_m)
    else:
        grid = reference.grid
        bound_block_cache(2 * _STRIP_ROWS * grid.width * reference.dtype.itemsize)
    within = grid.window if readers[0] is None else overlap(readers[0], grid)
    ground = ground_on(grid, within=within, aoi=evaluation.aoi, bbox=evaluation.bbox)
    lowest = lowest_value(evaluation.threshold)
    predicted, true = (
        _side(path, reader, ground, lowest, opened)
        for path, reader in zip((prediction, truth), readers, strict=True)
    )
    return ground, (predicted, true)


def _side(path: Path, reader: RasterReader | None, ground: Ground, lowest: int, opened: ExitStack) -> Side:
    if reader is None:
        return LayerSide(path, ground)
    side = RasterSide(reader, ground, lowest=lowest)
    opened.callback(side.close)
    return side


def _cut(window: Window, strip_rows: int | None) -> list[Window]:
    rows = strip_rows or max(min(_STRIP_ROWS, _STRIP_PX // window.width), 1)
    end = window.row_off + window.height
    return [
        Window(col_off=window.col_off, row_off=row, width=window.width, height=min(rows, end - row))
        for row in range(window.row_off, end, rows)
    ]


def _compared(sides: tuple[Side, Side], strips: list[Window]) -> Iterator[tuple[Rows, Rows]]:
    """Read both sides, one strip ahead in a thread."""
    return prefetch(lambda window: (sides[0].read(window), sides[1].read(window)), strips, workers=1, ahead=2)


def _objects(polygons: NDArray[np.object_], ground: Ground, evaluation: Evaluation) -> _Objects:
    """Place buildings on the grid, each by a point inside it; leave out what is too small."""
    grid = ground.grid
    if evaluation.min_area_m2 > 0:
        if grid.crs is None:
            raise InputError("there is no CRS, so areas are unknown", hint="leave out --min-area-m2")
        polygons = polygons[area_and_perimeter(polygons, CRS(grid.crs))[0] >= evaluation.min_area_m2]
    points = shapely.get_coordinates(shapely.point_on_surface(polygons))
    cols, rows = (np.floor(axis).astype(np.int64) for axis in ~grid.transform @ (points[:, 0], points[:, 1]))
    order = np.argsort(rows, kind="stable")
    return _Objects(
        polygons=polygons[order],
        cols=cols[order],
        rows=rows[order],
        counted=np.zeros(len(polygons), np.bool_),
    )
