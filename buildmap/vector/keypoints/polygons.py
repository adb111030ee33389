"""Keypoints become polygons, or the outline of the mask stays: always valid, and said which."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.keypoints.along import order_along
from buildmap.vector.keypoints.points import Keypoints, Order
from buildmap.vector.keypoints.walk import walk
from buildmap.vector.overlap_area import common_area
from buildmap.vector.ragged import to_ragged

Way = Literal["along", "walk"]
WAYS: tuple[Way, ...] = get_args(Way)
"""In their order along the outline of the mask; the paper's walk from nearest to nearest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How keypoints become polygons."""

    way: Way = "along"
    """In which order they are joined."""
    iou_min: float = 0.7
    """Lowest IoU with the outline of the mask; below it, that outline is taken."""
    merge_px: float = 2.0
    """Keypoints in a row along the outline that are no farther apart are one; not in the walk."""
    reach_px: float = 6.0
    """Keypoints farther from the outline are of something else; not in the walk."""

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"way {self.way!r} is not among {', '.join(WAYS)}")
        if not 0 <= self.iou_min <= 1:
            raise ValueError(f"iou_min {self.iou_min} is not within 0..1")
        if not (self.merge_px >= 0 and self.reach_px >= 0):
            raise ValueError(f"merge_px {self.merge_px} or reach_px {self.reach_px} is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointPolygons:
    """Objects as polygons."""

    polygons: NDArray[np.object_]
    """(n,) valid, in pixel corners."""
    method: NDArray[np.object_]
    """(n,) str: 'along' or 'walk', or 'raw' where the outline of the mask was taken."""
    verdict: NDArray[np.object_]
    """(n,) str: why: 'kept', or 'few', fewer than three keypoints; 'crossing', their polygon was invalid;
    'unlike', it was not like the mask."""
    iou_raw: NDArray[np.float64]
    """(n,) IoU with the outline of the mask, 0..1."""

    def __len__(self) -> int:
        return len(self.polygons)


def polygons_of(keypoints: Keypoints, outlines: NDArray[np.object_], grouping: Grouping) -> KeypointPolygons:
    """Join the keypoints of each object to a polygon.

    Args:
        keypoints: Of n objects.
        outlines: (n,) valid polygons, the outlines of their masks, in the same coordinates.
        grouping: How.

    Raises:
        ValueError: If there are more or fewer outlines, or one is missing or empty.
    """
    if len(outlines) != len(keypoints):
        raise ValueError(f"{len(keypoints)} objects have {len(outlines)} outlines")
    if (shapely.is_missing(outlines) | shapely.is_empty(outlines)).any():
        raise ValueError("an object has no outline")
    drawn, numbers = _drawn(keypoints.points, _grouped(keypoints, outlines, grouping))
    verdict = np.full(len(outlines), "few", np.object_)
    is_valid = shapely.is_valid(drawn)
    verdict[numbers[~is_valid]] = "crossing"
    drawn, numbers = drawn[is_valid], numbers[is_valid]
    iou = _iou(drawn, outlines[numbers])
    is_like = iou >= grouping.iou_min
    verdict[numbers] = np.where(is_like, "kept", "unlike")
    kept = numbers[is_like]
    polygons, iou_raw = outlines.copy(), np.ones(len(outlines))
    polygons[kept], iou_raw[kept] = drawn[is_like], iou[is_like]
    return KeypointPolygons(
        polygons=polygons,
        method=np.where(verdict == "kept", grouping.way, "raw").astype(np.object_),
        verdict=verdict,
        iou_raw=iou_raw,
    )


def outlines_alone(outlines: NDArray[np.object_]) -> KeypointPolygons:
    """Give objects of a network without keypoints as the outlines of their masks, (n,) valid polygons."""
    count = len(outlines)
    return KeypointPolygons(
        polygons=outlines.copy(),
        method=np.full(count, "raw", np.object_),
        verdict=np.full(count, "few", np.object_),
        iou_raw=np.ones(count),
    )


def _grouped(keypoints: Keypoints, outlines: NDArray[np.object_], grouping: Grouping) -> Order:
    if grouping.way == "walk":
        return walk(keypoints)
    flat = to_ragged(outlines)
    return order_along(keypoints, flat, merge_px=grouping.merge_px, reach_px=grouping.reach_px)


def _drawn(points: NDArray[np.float64], order: Order) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Give the polygons of those that have one, valid or not, and their numbers."""
    numbers = np.flatnonzero(np.diff(order.polygons))
    lengths = np.diff(order.rings)
    first = np.repeat(order.rings[:-1], lengths + 1)
    closed = np.append(0, np.cumsum(lengths + 1))
    step = np.arange(closed[-1]) - np.repeat(closed[:-1], lengths + 1)
    corner = order.corner[first + step % np.repeat(lengths, lengths + 1)]
    offsets = (closed, np.append(order.polygons[numbers], len(lengths)))
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, points[corner], offsets), numbers


def _iou(polygons: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give IoU pair by pair, (n,), to nine digits: beyond lies noise."""
    shared = np.maximum(common_area(polygons, others), 0.0)
    either = shapely.area(polygons) + shapely.area(others) - shared
    return np.asarray(np.minimum(np.round(shared / either, 9), 1.0))
