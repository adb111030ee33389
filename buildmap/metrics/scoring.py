"""Comparing one prediction with its truth, strip by strip, whatever form either comes in."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from math import sqrt
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.execution.memory import bound_block_cache
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress, Silent
from buildmap.metrics.alignment import align
from buildmap.metrics.boundary import BoundaryCounts, boundary_counts, halo_rows
from buildmap.metrics.cells import Cells, cell_size_px
from buildmap.metrics.counts import PairCounts, PartCounts
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.ground import Ground, grid_over_layers, ground_on, meets
from buildmap.metrics.histogram import Histogram, count_by_cell, count_by_region, count_values
from buildmap.metrics.objects import Comparison, Objects, compare, count_objects, count_regions, place
from buildmap.metrics.regions import Regions, read_regions
from buildmap.metrics.sides import LayerSide, RasterSide, Rows, Side, lowest_true, open_raster, overlap
from buildmap.metrics.similarity import HALO_ROWS, SimilaritySum, similarity_sum
from buildmap.metrics.strips import Strip, Surrounded, surround
from buildmap.metrics.summary import Alignment
from buildmap.metrics.topology import Topology, layer_topology
from buildmap.metrics.worst import WorstPlaces
from buildmap.raster.grid import Grid, show_bounds
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.outlining import lowest_value
from buildmap.vector.reader import read_footprints

_STRIP_PX = 2**22
_STRIP_ROWS = 512
_WORKERS = 2
_MOST_CELLS = 2**22
_WIDEST_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFindings:
    """What a comparison of one prediction with its truth found."""

    counts: PairCounts
    """Everything that adds up."""
    cells: Cells
    """Counts per cell of ground."""
    grid: Grid
    """Pixels on which both sides were seen."""
    gsd_m: float | None
    """Metres per pixel; None without a CRS."""
    alignment: Alignment | None
    """How the prediction lies on the grid; None for a layer."""
    comparison: Comparison | None
    """The buildings of both sides; None where they were not matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Both sides on one grid."""

    ground: Ground
    prediction: Side
    truth: Side
    alignment: Alignment | None
    gsd_m: float | None
    regions: Regions | None

    @property
    def unit_m(self) -> float:
        """Side of a pixel in metres; without a CRS, in its units."""
        return self.gsd_m or sqrt(abs(self.ground.grid.transform.determinant))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What one strip adds to the counts."""

    strip: Strip
    histogram: Histogram
    cells: tuple[NDArray[np.int64], tuple[int, int]]
    regions: NDArray[np.int64] | None
    boundary: BoundaryCounts | None
    similarity: SimilaritySum | None


def score_pair(
    prediction: Path,
    truth: Path,
    evaluation: Evaluation,
    *,
    progress: Progress,
    worst: WorstPlaces | None = None,
) -> PairFindings:
    """Compare a prediction with its truth, each a raster or a layer.

    The grid is the truth's, if that is a raster, or else the prediction's, or else one in UTM over the
    area of interest or the truth. A pixel counts where both sides are valid and it lies on the ground
    asked for; a building, where a point inside it does.

    Args:
        prediction: Raster or layer.
        truth: Raster or layer.
        evaluation: What to compare, and how.
        progress: Hears of every strip.
        worst: Draws the ground where the prediction is worst.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used, or the two have no ground in common.
        StorageError: If reading fails.
    """
    with ExitStack() as opened:
        pair = _open(prediction, truth, evaluation, opened)
        ground, window = pair.ground, pair.ground.window
        if worst is not None:
            worst.check(ground)
        strips = _cut(window, evaluation.strip_rows)
        cells = _lay_cells(window, pair.unit_m, evaluation)
        _check_rims(pair.unit_m, evaluation)
        sides: list[Objects] = []
        topology: Topology | None = None
        if evaluation.takes_objects:
            for side in (pair.prediction, pair.truth):
                buildings = side.buildings(strips, progress)
                sides.append(place(buildings, ground, min_area_m2=evaluation.min_area_m2))
        if "topology" in evaluation.measures and isinstance(pair.prediction, LayerSide):
            crs = None if ground.grid.crs is None else CRS(ground.grid.crs)
            topology = layer_topology(prediction, pair.prediction.buildings(strips, progress).store, crs)
        progress.start(f"compare {prediction.name}", len(strips))
        sums = _Sums(pair, evaluation)
        for measured in _measure_all(pair, strips, evaluation):
            sums.add(measured)
            cells.add_pixels(measured.cells[0], *measured.cells[1])
            for objects in sides:
                objects.count_on(measured.strip.counted, measured.strip.window)
            progress.advance()
        if not sums.histogram.pixels:
            raise InputError(
                f"{prediction} and {truth} have no valid pixel in common on the ground asked for",
                hint=f"look for nodata: gdalinfo -stats {shlex.quote(str(prediction))}",
            )
        comparison = compare(*sides) if sides else None
        if comparison is not None:
            cells.add_buildings(comparison.predicted.placed, comparison.true.placed, comparison.matches)
        if worst is not None:
            worst.draw(prediction, cells, ground, (pair.prediction, pair.truth), evaluation.threshold)
        return PairFindings(
            counts=sums.counts(comparison, cells, topology),
            cells=cells,
            grid=ground.grid,
            gsd_m=pair.gsd_m,
            alignment=pair.alignment,
            comparison=comparison,
        )


class _Sums:
    """The sums over the strips of one pair."""

    def __init__(self, pair: _Pair, evaluation: Evaluation) -> None:
        self._pair, self._evaluation = pair, evaluation
        self.histogram = Histogram()
        self._boundary = BoundaryCounts() if "boundary" in evaluation.measures else None
        self._similarity = SimilaritySum() if "ssim" in evaluation.measures else None
        names = pair.regions.names if pair.regions is not None else ()
        self._regions = np.zeros((len(names), *self.histogram.counts.shape), np.int64)

    def add(self, measured: _Measured) -> None:
        """Add a strip."""
        self.histogram += measured.histogram
        if measured.boundary is not None and self._boundary is not None:
            self._boundary += measured.boundary
        if measured.similarity is not None and self._similarity is not None:
            self._similarity += measured.similarity
        if measured.regions is not None:
            self._regions += measured.regions

    def counts(self, comparison: Comparison | None, cells: Cells, topology: Topology | None) -> PairCounts:
        """Put the sums and the buildings together."""
        pair, evaluation = self._pair, self._evaluation
        objects = None
        if comparison is not None:
            objects = count_objects(comparison, pair.ground, evaluation, cells.differences())
        return PairCounts(
            histogram=self.histogram,
            boundary=self._boundary,
            boundary_px=boundary_width_px(evaluation.boundary_m, pair.unit_m),
            similarity=self._similarity,
            objects=objects,
            topology=topology,
            regions=self._region_counts(comparison),
        )

    def _region_counts(self, comparison: Comparison | None) -> dict[str, PartCounts]:
        regions = self._pair.regions
        if regions is None:
            return {}
        buildings = [None] * len(regions.names) if comparison is None else count_regions(comparison, regions)
        return {
            name: PartCounts(histogram=Histogram(counts=counts), over_iou=over_iou)
            for name, counts, over_iou in zip(regions.names, self._regions, buildings, strict=True)
            if counts.any()
        }


def boundary_width_px(width_m: float, gsd_m: float) -> int:
    """Turn the width of rims into whole pixels, at least one."""
    return max(round(width_m / gsd_m), 1)


def _open(prediction: Path, truth: Path, evaluation: Evaluation, opened: ExitStack) -> _Pair:
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
    predicted = _side(prediction, readers[0], ground, lowest, opened)
    true = _side(truth, readers[1], ground, lowest_true(lowest), opened)
    if ground.regions is not None:
        _check_places([(prediction, predicted), (truth, true)], ground, aoi=evaluation.aoi)
    regions = evaluation.regions and read_regions(
        evaluation.regions[0], column=evaluation.regions[1], grid=grid
    )
    return _Pair(
        ground=ground,
        prediction=predicted,
        truth=true,
        alignment=None if readers[0] is None else align(readers[0].grid, grid),
        gsd_m=grid.gsd_m(),
        regions=regions,
    )


def _side(path: Path, reader: RasterReader | None, ground: Ground, lowest: int, opened: ExitStack) -> Side:
    if reader is None:
        return LayerSide(path, ground)
    side = RasterSide(reader, ground, lowest=lowest)
    opened.callback(side.close)
    return side


def _check_places(sides: Sequence[tuple[Path, Side]], ground: Ground, *, aoi: Path | None) -> None:
    """Tell ground on which a layer has no building from ground that it does not map.

    Where two layers are compared on an area of interest, that one of them reaches it is enough.

    Raises:
        InputError: If a layer lies elsewhere.
    """
    layers = [(path, side) for path, side in sides if isinstance(side, LayerSide)]
    blank = [path for path, side in layers if len(side.buildings([], Silent()).store) == 0]
    over_area = aoi is not None and len(layers) == len(sides)
    if over_area and len(blank) < len(layers):
        return
    polygons = [(path, read_footprints(path, crs=ground.grid.crs).polygons) for path in blank]
    boxes = {path: tuple(shapely.total_bounds(some).tolist()) for path, some in polygons if len(some)}
    elsewhere = [path for path, box in boxes.items() if not meets(box, ground.grid.bounds)]
    here = show_bounds(ground.grid.bounds)
    if over_area and elsewhere and len(elsewhere) == len(boxes):
        there = ", ".join(show_bounds(boxes[path]) for path in elsewhere)
        raise InputError(
            f"{aoi} touches neither {sides[0][0]} nor {sides[1][0]}: extents {here} and {there}",
            hint="give an --aoi over ground that they map",
        )
    if elsewhere and not over_area:
        there = show_bounds(boxes[elsewhere[0]])
        raise InputError(
            f"{elsewhere[0]} does not touch the ground it is compared with: extents {there} and {here}",
            hint="choose the ground to compare with --aoi" if len(layers) == len(sides) else None,
        )


def _cut(window: Window, strip_rows: int | None) -> list[Window]:
    rows = strip_rows or max(min(_STRIP_ROWS, _STRIP_PX // window.width), 1)
    end = window.row_off + window.height
    return [
        Window(col_off=window.col_off, row_off=row, width=window.width, height=min(rows, end - row))
        for row in range(window.row_off, end, rows)
    ]


def _lay_cells(window: Window, gsd_m: float, evaluation: Evaluation) -> Cells:
    """Lay cells over the ground.

    Raises:
        InputError: If they are too many to be kept.
    """

    def number(cell_m: float) -> int:
        cell_px = cell_size_px(gsd_m, cell_m)
        return -(-window.width // cell_px) * -(-window.height // cell_px)

    found = number(evaluation.cell_m)
    if found > _MOST_CELLS:
        enough_m = next(10**power for power in count() if number(10**power) <= _MOST_CELLS)
        raise InputError(
            f"the ground has {found:,} cells of {evaluation.cell_m:g} m, {_MOST_CELLS:,} at most are kept",
            hint=f"pass --cell-m {enough_m}",
        )
    return Cells.empty(window, cell_size_px(gsd_m, evaluation.cell_m))


def _check_rims(gsd_m: float, evaluation: Evaluation) -> None:
    """Refuse rims for which more rows would be held than memory has, or time allows.

    Raises:
        InputError: If they are too wide.
    """
    width_px = boundary_width_px(evaluation.boundary_m, gsd_m)
    if "boundary" in evaluation.measures and width_px > _WIDEST_PX:
        raise InputError(
            f"rims of {evaluation.boundary_m:g} m are {width_px:,} pixels wide; {_WIDEST_PX:,} is the most",
            hint=f"pass --boundary-m {_WIDEST_PX * 0.99 * gsd_m:.3g}, or leave boundary out of --measures",
        )


def _measure_all(pair: _Pair, strips: list[Window], evaluation: Evaluation) -> Iterator[_Measured]:
    """Measure all strips, in order: a thread reads each side ahead, others count."""
    lowest = lowest_value(evaluation.threshold)
    width_px = boundary_width_px(evaluation.boundary_m, pair.unit_m)
    takes_boundary, takes_ssim = (name in evaluation.measures for name in ("boundary", "ssim"))
    halo = max(halo_rows(width_px) if takes_boundary else 0, HALO_ROWS if takes_ssim else 0)

    def lay(window: Window, predicted: Rows, true: Rows) -> Strip:
        counted = predicted.valid & true.valid
        if pair.ground.regions is not None:
            counted &= pair.ground.counts(window)
        truth = true.values >= lowest_true(lowest)
        return Strip(window=window, values=predicted.values, truth=truth, counted=counted)

    def measure(around: Surrounded) -> _Measured:
        strip, window = around.own, around.window
        layers = strip.values, strip.truth, strip.counted
        masks = around.values >= lowest, around.truth, around.counted
        return _Measured(
            strip=strip,
            histogram=count_values(*layers),
            cells=count_by_cell(
                *layers,
                lowest=lowest,
                row_off=window.row_off,
                col_off=window.col_off,
                cell_px=cell_size_px(pair.unit_m, evaluation.cell_m),
            ),
            regions=_count_regions(pair.regions, strip),
            boundary=boundary_counts(
                *masks,
                rows=around.rows,
                width_px=width_px,
                at_top=around.at_top,
                at_bottom=around.at_bottom,
            )
            if takes_boundary
            else None,
            similarity=similarity_sum(*masks, rows=around.rows) if takes_ssim else None,
        )

    reads = [prefetch(side.read, strips, workers=1, ahead=2) for side in (pair.prediction, pair.truth)]
    reading = (lay(window, *rows) for window, *rows in zip(strips, *reads, strict=True))
    return prefetch(measure, surround(reading, halo), workers=_WORKERS, ahead=_WORKERS + 1)


def _count_regions(regions: Regions | None, strip: Strip) -> NDArray[np.int64] | None:
    if regions is None:
        return None
    labels = regions.label(strip.window)
    return count_by_region(strip.values, strip.truth, strip.counted, labels, regions_count=len(regions.names))
