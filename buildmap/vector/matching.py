"""Finding which footprint of one layer is which of another: all overlaps, then one to one.

Candidates come from a packed R-tree of boxes (Leutenegger et al. 1997, "STR"): leaves of 16 neighbours, tiled
by x, then y. No outline of an intersection is ever made, which is what takes the time and the memory
elsewhere.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.overlap_area import shared_areas
from buildmap.vector.store import PolygonStore

_AT_A_TIME = 16_384
_FANOUT = 16
_DIGITS = 9  # beyond lies noise, which would decide between equal pairs
_NOISE = 1e-9
"""Share of the smaller polygon: polygons that only touch share less, by the rounding of coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """All pairs of footprints that share ground; sorted by left, then right."""

    left: NDArray[np.int64]
    """(k,) index into the one layer."""
    right: NDArray[np.int64]
    """(k,) index into the other."""
    shared: NDArray[np.float64]
    """(k,) area of the intersection in CRS units squared, more than a billionth of the smaller's area."""
    left_area: NDArray[np.float64]
    """(n,) of the whole one layer, in CRS units squared."""
    right_area: NDArray[np.float64]
    """(m,) of the whole other."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(k,) intersection over union, to nine digits."""
        either = self.left_area[self.left] + self.right_area[self.right] - self.shared
        return np.asarray(np.round(self.shared / either, _DIGITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of footprints, at most one pair for each; the best come first."""

    left: NDArray[np.int64]
    """(n,) index into the one layer."""
    right: NDArray[np.int64]
    """(n,) index into the other."""
    iou: NDArray[np.float64]
    """(n,) intersection over union."""


class _BoxTree(NamedTuple):
    """Boxes in a packed R-tree."""

    order: NDArray[np.int64]
    """(n,) which box each leaf is."""
    boxes: NDArray[np.float64]
    """(nodes, 4) left, bottom, right, top: the leaves, then the nodes above them, at last the root."""
    levels: NDArray[np.int64]
    """(depth,) where each level starts in `boxes`."""


def find_overlaps(left: PolygonStore, right: PolygonStore, *, at_a_time: int = _AT_A_TIME) -> Overlaps:
    """Find all pairs of footprints of two layers that share ground.

    Beyond the layers and the result, memory holds the boxes of both and the candidates of some
    footprints.

    Args:
        left: n valid polygons.
        right: m valid polygons in the same coordinates.
        at_a_time: Footprints of the left layer to look up at once; the result does not depend on it.
    """
    return _overlaps(left, right, at_a_time=at_a_time, within=False)


def overlaps_within(store: PolygonStore, *, at_a_time: int = _AT_A_TIME) -> Overlaps:
    """Find all pairs of footprints of one layer that share ground, each pair once with left < right.

    Args:
        store: n valid polygons.
        at_a_time: Footprints to look up at once; the result does not depend on it.
    """
    return _overlaps(store, store, at_a_time=at_a_time, within=True)


def match(overlaps: Overlaps, *, iou_min: float) -> Matches:
    """Match footprints greedily, from the highest intersection over union down.

    Of equal pairs, the one with the lower index on the left goes first, then that on the right. From
    0.5 up, no choice arises unless footprints of one layer overlap each other.

    Args:
        overlaps: Of two layers.
        iou_min: Lowest intersection over union of a pair.
    """
    iou = overlaps.iou
    able = np.flatnonzero(iou >= iou_min)
    best_first = able[np.argsort(-iou[able], kind="stable")]
    left, right = overlaps.left[best_first], overlaps.right[best_first]
    free_left = np.ones(len(overlaps.left_area), np.bool_)
    chosen = _choose(left, right, free_left, np.ones(len(overlaps.right_area), np.bool_))
    return Matches(left=left[chosen], right=right[chosen], iou=iou[best_first[chosen]])


def _overlaps(left: PolygonStore, right: PolygonStore, *, at_a_time: int, within: bool) -> Overlaps:
    tree = _plant(right.bounds)
    near = _tiled(left.bounds)  # neighbours in space are looked up together
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for start in range(0, len(near), at_a_time):
        rows = near[start : start + at_a_time]
        queries, rights = _look_up(tree, left.bounds[rows])
        lefts = rows[queries]
        if within:
            once = lefts < rights
            lefts, rights = lefts[once], rights[once]
        smaller = np.minimum(left.area[lefts], right.area[rights])
        shared = np.minimum(_share(left, right, lefts, rights), smaller)
        real = shared > _NOISE * smaller
        found.append((lefts[real], rights[real], shared[real]))
    lefts, rights, shared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((rights, lefts))
    return Overlaps(
        left=lefts[order],
        right=rights[order],
        shared=shared[order],
        left_area=left.area,
        right_area=right.area,
    )


def _tiled(bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order boxes, (n, 4), so that any `_FANOUT` in a row are neighbours: columns of them, bottom up."""
    count = len(bounds)
    column_size = _FANOUT * max(math.isqrt(count // _FANOUT), 1)
    column = np.empty(count, np.int64)
    column[np.argsort(bounds[:, 0] + bounds[:, 2], kind="stable")] = np.arange(count) // column_size
    return np.lexsort((bounds[:, 1] + bounds[:, 3], column))


def _plant(bounds: NDArray[np.float64]) -> _BoxTree:
    """Make the tree of boxes, (n, 4)."""
    order = _tiled(bounds)
    level = bounds[order]
    levels = [level]
    while len(level) > 1:
        starts = np.arange(0, len(level), _FANOUT)
        low = np.minimum.reduceat(level[:, :2], starts)
        level = np.column_stack([low, np.maximum.reduceat(level[:, 2:], starts)])
        levels.append(level)
    sizes = [len(level) for level in levels]
    return _BoxTree(order, np.concatenate(levels), np.cumsum([0, *sizes[:-1]]))


def _share(
    left: PolygonStore, right: PolygonStore, lefts: NDArray[np.int64], rights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Measure the area that polygons share, pair by pair; noise around 0 where they share none."""
    shared = shared_areas(left.flat, right.flat, left.bounds[lefts], right.bounds[rights], lefts, rights)
    for pair in np.flatnonzero(np.isnan(shared)):
        one, other = left.take(lefts[[pair]]), right.take(rights[[pair]])
        shared[[pair]] = shapely.area(shapely.intersection(one, other))
    return np.asarray(shared)


@compiled
def _look_up(tree: _BoxTree, queries: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the boxes of a tree that share ground with others, (q, 4): query and box of each pair."""
    order, boxes, levels = tree
    query_of, box_of, count = np.empty(1024, np.int64), np.empty(1024, np.int64), 0
    nodes, depths = np.empty(_FANOUT * len(levels), np.int64), np.empty(_FANOUT * len(levels), np.int64)
    for query in range(len(queries) if len(order) else 0):
        waiting = 1
        nodes[0], depths[0] = len(boxes) - 1, len(levels) - 1
        while waiting:
            waiting -= 1
            node, depth = nodes[waiting], depths[waiting]
            if not _meet(boxes[node], queries[query]):
                continue
            if depth == 0:
                if count == len(box_of):
                    query_of = np.concatenate((query_of, np.empty_like(query_of)))
                    box_of = np.concatenate((box_of, np.empty_like(box_of)))
                query_of[count], box_of[count] = query, order[node]
                count += 1
                continue
            first = levels[depth - 1] + (node - levels[depth]) * _FANOUT
            for child in range(first, min(first + _FANOUT, levels[depth])):
                nodes[waiting], depths[waiting] = child, depth - 1
                waiting += 1
    return query_of[:count], box_of[:count]


@inlined
def _meet(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool(one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


@compiled
def _choose(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    free_left: NDArray[np.bool_],
    free_right: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Go through pairs and take those whose footprints are both free; give their numbers."""
    chosen, count = np.empty(min(len(free_left), len(free_right)), np.int64), 0
    for pair in range(len(left)):
        if free_left[left[pair]] and free_right[right[pair]]:
            free_left[left[pair]] = free_right[right[pair]] = False
            chosen[count] = pair
            count += 1
    return chosen[:count]
