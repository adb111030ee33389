"""Objects that windows saw, streaming by strips of windows, become one set of buildings.

The rule is in `instance_rules`. Here is which window an object belongs to, and how long it has to be kept: as
long as anything that is still to come can reach it.
"""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.instance_rules import (
    Candidates,
    Merging,
    Pairs,
    components,
    find_first_matches,
    find_matches,
    find_parts,
    gather,
    no_candidates,
    rank,
    suppress,
    unite,
)
from buildmap.vector.keypoints.polygons import KeypointPolygons

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the raster; the last two are one past."""


def is_owned(polygons: NDArray[np.object_], core: Box, margin_px: float = 0.0) -> NDArray[np.bool_]:
    """Tell which objects belong to a window: those whose centre lies in its core.

    The centre is the middle of the box around a polygon. Cores are half open, so that every centre in
    the raster lies in one.

    Args:
        polygons: (n,) in pixel corners of the raster.
        core: Of the window.
        margin_px: Take what lies so far outside of the core, too.
    """
    left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
    x, y = (left + right) / 2, (top + bottom) / 2
    inside = (x >= core[0] - margin_px) & (x < core[2] + margin_px)
    return np.asarray(inside & (y >= core[1] - margin_px) & (y < core[3] + margin_px))


def is_cut(
    polygons: NDArray[np.object_], window: Box, raster_px: tuple[int, int], border_px: float
) -> NDArray[np.bool_]:
    """Tell which objects touch a border of their window that is none of the raster.

    Args:
        polygons: (n,) in pixel corners of the raster.
        window: Ground that the image shows.
        raster_px: Columns and rows of the raster.
        border_px: What comes so near touches.
    """
    box = shapely.bounds(polygons).reshape(-1, 4)
    low, high = np.array(window[:2]), np.array(window[2:])
    cut_low = (box[:, :2] <= low + border_px) & (low > 0)
    cut_high = (box[:, 2:] >= high - border_px) & (high < raster_px)
    return np.asarray((cut_low | cut_high).any(axis=1))


def candidates_in(
    objects: KeypointPolygons,
    score: NDArray[np.float64],
    class_id: NDArray[np.int64],
    *,
    window: Box,
    core: Box,
    raster_px: tuple[int, int],
    rules: Merging,
) -> Candidates:
    """Choose the objects of one window that belong to it.

    Args:
        objects: n, within the window, in pixel corners of the raster.
        score: (n,) confidence, 0..1.
        class_id: (n,) class.
        window: Ground that the image shows.
        core: What the window owns of it.
        raster_px: Columns and rows of the raster.
        rules: When objects of different windows are one.
    """
    owned = is_owned(objects.polygons, core, rules.margin_px)
    polygons = objects.polygons[owned]
    return Candidates(
        polygons=polygons,
        score=score[owned],
        class_id=class_id[owned],
        method=objects.method[owned],
        iou_raw=objects.iou_raw[owned],
        window=np.tile(np.array(window, np.int64), (int(owned.sum()), 1)),
        is_cut=is_cut(polygons, window, raster_px, rules.border_px),
    )


class Merger:
    """Merges objects of windows that come from top to bottom; the result does not depend on the strips.

    Memory holds the objects that may still meet others, and what is linked to them.
    """

    def __init__(self, rules: Merging) -> None:
        """Start with no object."""
        self._below = -np.inf
        self._stages = (
            _Stage(find_first_matches, suppress, rules),
            _Stage(find_parts, unite, rules),
            _Stage(find_matches, suppress, rules),
        )

    def push(self, candidates: Candidates, below: float) -> Candidates:
        """Take the objects of the next windows, in any order, and give those that nothing can change.

        Args:
            candidates: None reaches above the last `below`.
            below: Row above which no later candidate reaches: where the next windows begin.

        Returns:
            Sorted, over all calls, in an order that does not depend on the strips.

        Raises:
            ValueError: If a candidate reaches above the last `below`, or that was lower.
        """
        tops = shapely.bounds(candidates.polygons).reshape(-1, 4)[:, 1]
        if below < self._below or (tops < self._below).any():
            raise ValueError(f"row {min(below, tops.min(initial=np.inf))} comes after row {self._below}")
        self._below = below
        for stage in self._stages:
            candidates, below = stage.push(candidates, below)
        return candidates

    def finish(self) -> Candidates:
        """Give the rest."""
        return self.push(no_candidates(), np.inf)

    def __len__(self) -> int:
        """Count the objects held."""
        return sum(len(stage) for stage in self._stages)


class _Stage:
    """One step of the rule, settled component by component."""

    def __init__(
        self,
        link: Callable[[Candidates, int, Merging], Pairs],
        settle: Callable[[Candidates, Pairs], Candidates],
        rules: Merging,
    ) -> None:
        self._link, self._settle, self._rules = link, settle, rules
        self._held = no_candidates()
        self._pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._held)

    def push(self, fresh: Candidates, below: float) -> tuple[Candidates, float]:
        """Take candidates; give what is settled, and the row above which nothing else will reach."""
        known = gather(self._held, fresh)
        found = self._link(known, len(fresh), self._rules)
        pairs = Pairs(*(np.concatenate(both) for both in zip(self._pairs, found, strict=True)))
        bounds = shapely.bounds(known.polygons).reshape(-1, 4)
        bottom = _bottoms(components(len(known), pairs), bounds[:, 3])
        is_closed = bottom <= below
        closed, still_open = np.flatnonzero(is_closed), np.flatnonzero(~is_closed)
        # what closes later has a lower row: so the order is the same for any strips
        closed = closed[np.lexsort((rank(known)[closed], bottom[closed]))]
        self._held, self._pairs = known.take(still_open), _within(pairs, still_open, len(known))
        settled = self._settle(known.take(closed), _within(pairs, closed, len(known)))
        return settled, min(below, bounds[still_open, 1].min(initial=np.inf))


def _bottoms(component: NDArray[np.int64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the lowest row of the component of each, (n,)."""
    lowest = np.full(len(component), -np.inf)
    np.maximum.at(lowest, component, bottom)
    return lowest[component]


def _within(pairs: Pairs, chosen: NDArray[np.int64], count: int) -> Pairs:
    """Give the pairs of some of `count` candidates, by their numbers among these."""
    number = np.full(count, -1)
    number[chosen] = np.arange(len(chosen))
    some = pairs.take(number[pairs.first] >= 0)
    return Pairs(number[some.first], number[some.second])
