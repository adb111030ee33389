"""The buildings of both sides: placed on the ground that counts, matched, and compared one by one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.metrics.average_precision import Ranked, RankedSide, rank
from buildmap.metrics.cells import CellDifferences, Placed
from buildmap.metrics.evaluation import IOU_MIN, Evaluation
from buildmap.metrics.ground import Ground
from buildmap.metrics.instances import Instances, count_over_iou
from buildmap.metrics.outlines import OutlineErrors, compare_outlines
from buildmap.metrics.regions import SIZE_CLASSES_M2, Regions, size_class
from buildmap.metrics.segmentation import Segmentation, count_segmentation, merged_and_split
from buildmap.metrics.sides import Buildings
from buildmap.metrics.sizes import NO_BUILDINGS, SizeCounts, count_sizes
from buildmap.raster.windows import Window
from buildmap.vector.matching import Matches, Overlaps, find_overlaps, match
from buildmap.vector.measures import area_and_perimeter
from buildmap.vector.store import PolygonStore

_AT_A_TIME = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The buildings of one side that are large enough, from the upper rows of the grid to the lower."""

    store: PolygonStore
    """n polygons in the CRS of the grid."""
    confidence: NDArray[np.float64] | None
    """(n,) how sure the prediction is; None where nothing says."""
    area_m2: NDArray[np.float64]
    """(n,) on the ground; of CRS units where there is no CRS."""
    rows: NDArray[np.int64]
    """(n,) pixel row of a point inside each, ascending."""
    cols: NDArray[np.int64]
    """(n,) pixel column of the same point."""
    counted: NDArray[np.bool_]
    """(n,) whether that pixel counts: filled in while the ground streams by."""

    def count_on(self, counted: NDArray[np.bool_], window: Window) -> None:
        """Note the buildings whose points lie on counted pixels of a window."""
        first, last = np.searchsorted(self.rows, [window.row_off, window.row_off + window.height])
        cols, rows = self.cols[first:last] - window.col_off, self.rows[first:last] - window.row_off
        inside = (cols >= 0) & (cols < window.width)
        self.counted[first:last][inside] = counted[rows[inside], cols[inside]]

    @property
    def placed(self) -> Placed:
        """What cells must know of them."""
        return Placed(rows=self.rows, cols=self.cols, area_m2=self.area_m2, counted=self.counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCounts:
    """What became of the buildings of one pair of files, or of several."""

    over_iou: tuple[Instances, ...]
    """Found, invented and missed, one for each of `IOU_STEPS`."""
    ranked: tuple[Ranked, ...]
    """What average precision needs, one a pair of files."""
    segmentation: Segmentation
    """Run together or torn apart."""
    outlines: tuple[OutlineErrors, ...]
    """Of matched buildings, one a pair of files; none where they were not asked for."""
    cells: CellDifferences
    """Number and area per cell of ground."""
    by_size: tuple[tuple[Instances, ...], ...]
    """(size classes, `IOU_STEPS`); empty where not asked for."""
    sizes: SizeCounts = NO_BUILDINGS
    """By area."""

    def __add__(self, other: "ObjectCounts") -> "ObjectCounts":
        return ObjectCounts(
            over_iou=add_up(self.over_iou, other.over_iou),
            ranked=self.ranked + other.ranked,
            segmentation=self.segmentation + other.segmentation,
            outlines=self.outlines + other.outlines,
            cells=self.cells + other.cells,
            by_size=tuple(add_up(one, two) for one, two in zip(self.by_size, other.by_size, strict=True)),
            sizes=self.sizes + other.sizes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides, matched."""

    predicted: Objects
    """On the left of all pairs."""
    true: Objects
    """On the right."""
    overlaps: Overlaps
    """All pairs that share ground."""
    matches: Matches
    """The same building on both sides, one to one."""

    def counted_pairs(self) -> Matches:
        """Give the matches whose true building counts, in the order of the true ones."""
        kept = np.flatnonzero(self.true.counted[self.matches.right])
        kept = kept[np.argsort(self.matches.right[kept], kind="stable")]
        return Matches(
            left=self.matches.left[kept], right=self.matches.right[kept], iou=self.matches.iou[kept]
        )

    def mistakes(self) -> dict[str, tuple[Objects, NDArray[np.int64]]]:
        """Name the buildings that are false, missed, merged or split: their side, and indices into it."""
        invented, missed = self.predicted.counted.copy(), self.true.counted.copy()
        invented[self.matches.left] = False
        missed[self.matches.right] = False
        merged, split = merged_and_split(self.overlaps, truth_counted=self.true.counted)
        return {
            "false": (self.predicted, np.flatnonzero(invented)),
            "missed": (self.true, np.flatnonzero(missed)),
            "merged": (self.predicted, merged),
            "split": (self.true, split),
        }


def add_up(one: tuple[Instances, ...], other: tuple[Instances, ...]) -> tuple[Instances, ...]:
    """Add the counts of two, step by step."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def place(buildings: Buildings, ground: Ground, *, min_area_m2: float) -> Objects:
    """Place buildings on the grid, each by a point inside it; leave out what is too small.

    Raises:
        InputError: If a smallest area is given, and there is no CRS to measure areas in.
    """
    grid, store = ground.grid, buildings.store
    if grid.crs is None and min_area_m2 > 0:
        raise InputError("there is no CRS, so areas are unknown", hint="leave out --min-area-m2")
    area_m2 = store.area if grid.crs is None else _areas_m2(store, CRS(grid.crs))
    x, y = store.inside.T
    cols, rows = (np.floor(axis).astype(np.int64) for axis in ~grid.transform @ (x, y))
    order = np.argsort(rows, kind="stable")
    if min_area_m2 > 0:
        order = order[area_m2[order] >= min_area_m2]
    return Objects(
        store=store.select(order),
        confidence=None if buildings.confidence is None else buildings.confidence[order],
        area_m2=area_m2[order],
        rows=rows[order],
        cols=cols[order],
        counted=np.zeros(len(order), np.bool_),
    )


def compare(predicted: Objects, true: Objects) -> Comparison:
    """Match the buildings of two sides."""
    overlaps = find_overlaps(predicted.store, true.store)
    return Comparison(
        predicted=predicted, true=true, overlaps=overlaps, matches=match(overlaps, iou_min=IOU_MIN)
    )


def count_objects(
    comparison: Comparison, ground: Ground, evaluation: Evaluation, cells: CellDifferences
) -> ObjectCounts:
    """Count everything that is said of buildings.

    Args:
        comparison: With the buildings that count marked.
        ground: They lie on.
        evaluation: What to measure.
        cells: How far the cells of this ground are from the truth.
    """
    predicted, true, overlaps = comparison.predicted, comparison.true, comparison.overlaps
    pixel_area = abs(ground.grid.transform.determinant)
    ranked = rank(
        overlaps,
        predicted.confidence,
        predictions=_ranked_side(predicted, pixel_area),
        truths=_ranked_side(true, pixel_area),
    )
    outlines = [_outlines(comparison, ground, evaluation)] if "outlines" in evaluation.measures else []
    return ObjectCounts(
        over_iou=count_over_iou(overlaps, prediction_counted=predicted.counted, truth_counted=true.counted),
        ranked=(ranked,),
        segmentation=count_segmentation(overlaps, truth_counted=true.counted),
        outlines=tuple(outlines),
        cells=cells,
        by_size=count_by_size(comparison) if evaluation.by_size else (),
        sizes=count_sizes(predicted.placed, true.placed, comparison.matches),
    )


def count_by_size(comparison: Comparison) -> tuple[tuple[Instances, ...], ...]:
    """Count buildings by size class: a pair, and what was missed, by the true size, else by the predicted."""
    sizes = size_class(comparison.predicted.area_m2), size_class(comparison.true.area_m2)
    return _count_parts(comparison, sizes, len(SIZE_CLASSES_M2))


def count_regions(comparison: Comparison, regions: Regions) -> tuple[tuple[Instances, ...], ...]:
    """Count buildings by the region that a point inside each lies in, a pair by its true building."""
    places = tuple(regions.of_points(side.store.inside) for side in (comparison.predicted, comparison.true))
    return _count_parts(comparison, places, len(regions.names))


def _count_parts(
    comparison: Comparison, classes: tuple[NDArray[np.integer], ...], count: int
) -> tuple[tuple[Instances, ...], ...]:
    predicted, true = comparison.predicted, comparison.true
    return tuple(
        count_over_iou(
            comparison.overlaps,
            prediction_counted=predicted.counted & (classes[0] == number),
            truth_counted=true.counted & (classes[1] == number),
        )
        for number in range(count)
    )


def _outlines(comparison: Comparison, ground: Ground, evaluation: Evaluation) -> OutlineErrors:
    """Compare the outlines of all matched buildings that count."""
    pairs = comparison.counted_pairs()
    crs = None if ground.grid.crs is None else CRS(ground.grid.crs)
    parts = [
        compare_outlines(
            comparison.predicted.store.take(pairs.left[start : start + _AT_A_TIME]),
            comparison.true.store.take(pairs.right[start : start + _AT_A_TIME]),
            crs,
            iou=pairs.iou[start : start + _AT_A_TIME],
            corner_tolerance_m=evaluation.corner_m,
        )
        for start in range(0, max(len(pairs.left), 1), _AT_A_TIME)
    ]
    return sum(parts[1:], start=parts[0])


def _areas_m2(store: PolygonStore, crs: CRS) -> NDArray[np.float64]:
    parts = [
        area_and_perimeter(store.take(slice(start, start + _AT_A_TIME)), crs)[0]
        for start in range(0, max(len(store), 1), _AT_A_TIME)
    ]
    return np.concatenate(parts)


def _ranked_side(side: Objects, pixel_area: float) -> RankedSide:
    return RankedSide(counted=side.counted, area_px=side.store.area / pixel_area, area_m2=side.area_m2)
