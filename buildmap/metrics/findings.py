"""What the comparisons of all pairs give together: intervals of the scores, and the report."""

from collections.abc import Sequence

import numpy as np

from buildmap import __version__
from buildmap.metrics.average_precision import concatenate
from buildmap.metrics.cells import FN, FP
from buildmap.metrics.counts import total
from buildmap.metrics.curves import building_curves
from buildmap.metrics.figures import Mark
from buildmap.metrics.report import CellMap, Place, Report
from buildmap.metrics.report_tables import worst_first
from buildmap.metrics.scoring import PairFindings
from buildmap.metrics.sizes import NO_BUILDINGS
from buildmap.metrics.statistics import (
    OBJECT_STATISTICS,
    PIXEL_STATISTICS,
    Interval,
    bootstrap,
    object_statistics,
    pixel_statistics,
)
from buildmap.metrics.summary import EvaluateSummary
from buildmap.metrics.table import pair_name


def intervals(findings: Sequence[PairFindings], *, seed: int) -> dict[str, Interval]:
    """Estimate how sure the scores are by drawing the cells of all pairs again and again.

    Args:
        findings: Of each pair.
        seed: Of the draws.

    Returns:
        Intervals by column of the table; those of buildings only where there are any.
    """
    rng = np.random.default_rng(seed)
    pixels = np.concatenate([found.cells.pixel_counts() for found in findings])
    drawn = dict(zip(PIXEL_STATISTICS, bootstrap(pixels, pixel_statistics, rng=rng), strict=True))
    objects = np.concatenate([found.cells.object_counts() for found in findings])
    if not objects.any():
        return drawn
    of_objects = bootstrap(objects, object_statistics, rng=rng)
    return drawn | {
        f"object_{name}": interval for name, interval in zip(OBJECT_STATISTICS, of_objects, strict=True)
    }


def make_report(
    findings: Sequence[PairFindings], summary: EvaluateSummary, places: tuple[Place, ...], *, command: str
) -> Report:
    """Gather what the report shows.

    Args:
        findings: Of each pair.
        summary: Of all, the pairs in the same order.
        places: The worst of them.
        command: What was typed.
    """
    objects = total([found.counts for found in findings]).objects
    errors = () if objects is None else objects.outlines
    names = [pair_name(pair) for pair in summary.pairs]
    ious = [pair.scores.pixels.iou for pair in summary.pairs]
    order = sorted(range(len(names)), key=lambda number: worst_first(ious[number]))
    return Report(
        summary=summary,
        title=f"How good is {names[0]}?" if len(names) == 1 else f"How good are {len(names)} maps?",
        maps=tuple(_cell_map(names[number], findings[number], number, places) for number in order),
        ious=np.concatenate([np.empty(0), *(error.iou for error in errors)]),
        polis_m=np.concatenate([np.empty(0), *(error.polis_m for error in errors)]),
        area_errors=np.concatenate([np.empty(0), *(error.area_error for error in errors)]),
        sizes=NO_BUILDINGS if objects is None else objects.sizes,
        curves=() if objects is None else building_curves(concatenate(objects.ranked)),
        places=places,
        version=__version__,
        command=command,
    )


def _cell_map(name: str, found: PairFindings, pair: int, places: tuple[Place, ...]) -> CellMap:
    """Map what is wrong with one prediction, and number its worst places."""
    invented, missed = (
        np.where(found.cells.counted, found.cells.pixels[..., kind] / found.cells.cell_px**2, np.nan)
        for kind in (FP, FN)
    )
    return CellMap(
        name=name,
        cell_m=found.cells.cell_px * (found.gsd_m or 1),
        iou=found.cells.iou(),
        invented=invented,
        missed=missed,
        marks=tuple(
            Mark(number=number, row=place.cell[0], col=place.cell[1])
            for number, place in enumerate(places, 1)
            if place.pair == pair
        ),
    )
