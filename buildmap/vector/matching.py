"""Finding which footprint of one layer is which of another: one to one, by intersection over union."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

_PAIRS_AT_A_TIME = 100_000
_DIGITS = 9  # beyond lies noise, which would decide between equal pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of footprints, at most one pair for each; the best come first."""

    left: NDArray[np.int64]
    """(n,) index into the one layer."""
    right: NDArray[np.int64]
    """(n,) index into the other."""
    iou: NDArray[np.float64]
    """(n,) intersection over union."""


def match(left: NDArray[np.object_], right: NDArray[np.object_], *, iou_min: float) -> Matches:
    """Match footprints greedily, from the highest intersection over union down.

    Of equal pairs, the one with the lower index on the left goes first, then that on the right. From
    0.5 up, no choice arises unless footprints of one layer overlap each other.

    Args:
        left: (n,) valid shapely polygons.
        right: (m,) valid shapely polygons in the same coordinates.
        iou_min: Lowest intersection over union of a pair, above 0.
    """
    lefts, rights, iou = _candidates(left, right, iou_min)
    order = np.lexsort((rights, lefts, -iou))
    free_left, free_right = np.ones(len(left), np.bool_), np.ones(len(right), np.bool_)
    chosen = []
    for pair in order:
        if free_left[lefts[pair]] and free_right[rights[pair]]:
            free_left[lefts[pair]] = free_right[rights[pair]] = False
            chosen.append(pair)
    kept = np.array(chosen, np.int64)
    return Matches(left=lefts[kept], right=rights[kept], iou=iou[kept])


def _candidates(
    left: NDArray[np.object_], right: NDArray[np.object_], iou_min: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Give all pairs of at least `iou_min`: indices and intersection over union."""
    lefts, rights = shapely.STRtree(right).query(left)
    left_area, right_area = shapely.area(left)[lefts], shapely.area(right)[rights]
    boxes = _shared_box_area(
        shapely.bounds(left).reshape(-1, 4)[lefts], shapely.bounds(right).reshape(-1, 4)[rights]
    )
    most = np.minimum(np.minimum(left_area, right_area), boxes)
    able = np.flatnonzero(most >= iou_min * (left_area + right_area - most) * (1 - 1e-9))
    lefts, rights, areas = lefts[able], rights[able], (left_area + right_area)[able]
    iou = np.zeros(len(able))
    for start in range(0, len(able), _PAIRS_AT_A_TIME):
        part = slice(start, start + _PAIRS_AT_A_TIME)
        shared = shapely.area(shapely.intersection(left[lefts[part]], right[rights[part]]))
        iou[part] = np.round(shared / (areas[part] - shared), _DIGITS)
    near = iou >= iou_min
    return lefts[near], rights[near], iou[near]


def _shared_box_area(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the area two boxes share, (n, 4) each: no footprints in them can share more."""
    low, high = np.maximum(left[:, :2], right[:, :2]), np.minimum(left[:, 2:], right[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1))
