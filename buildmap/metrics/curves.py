"""Precision against recall of buildings: what a map would give if its least sure footprints were left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.average_precision import Ranked
from buildmap.metrics.instances import IOU_STEPS

_MOST_POINTS = 400
_ANY_SIZE = 0
"""Of the classes of `Ranked`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuildingCurve:
    """Every cut through the footprints of a map, the surest first."""

    iou_min: float
    """Intersection over union from which two footprints are the same building."""
    recall: NDArray[np.float64]
    """(n,) share of the true buildings found, ascending."""
    precision: NDArray[np.float64]
    """(n,) share of the footprints down to there that are right."""
    confidence: NDArray[np.float64]
    """(n,) of the last footprint that is kept, descending."""


def building_curves(ranked: Ranked, ious: Sequence[float] = (0.5, 0.75)) -> tuple[BuildingCurve, ...]:
    """Draw a curve for each intersection over union; footprints that are equally sure are one point.

    Of many points a few hundred are kept. There is no curve where no footprint is surer than another, or
    where there is no true building.

    Args:
        ranked: All footprints.
        ious: Some of `IOU_STEPS`.
    """
    truths = int(ranked.truths[_ANY_SIZE])
    order = np.argsort(-ranked.scores, kind="stable")
    scores = ranked.scores[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else order
    if truths == 0 or len(ends) < 2:
        return ()
    kept = ends[np.unique(np.linspace(0, len(ends) - 1, _MOST_POINTS).round().astype(np.int64))]
    right, wrong = ranked.right[_ANY_SIZE][order], ranked.wrong[_ANY_SIZE][order]
    curves = []
    for iou_min in ious:
        step = IOU_STEPS.index(iou_min)
        found = np.cumsum(right >> step & 1, dtype=np.int64)[kept]
        judged = np.cumsum((right | wrong) >> step & 1, dtype=np.int64)[kept]
        curves.append(
            BuildingCurve(
                iou_min=iou_min,
                recall=found / truths,
                precision=np.divide(found, judged, out=np.ones(len(kept)), where=judged > 0),
                confidence=scores[kept],
            )
        )
    return tuple(curves)
