"""Fitting must not make neighbours overlap: where it did, both go back to their outlines.

What stands in a hole that was filled belongs to the building around it, and is no footprint of its own.
"""

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.drawn import Drawn, join

_HELD = 20_000
"""Footprints that may still meet a neighbour, several rows of buildings of the widest raster."""
_TOUCH = 1e-6
"""Share of the smaller of two polygons that they may have in common by the rounding of coordinates."""


class Neighbours:
    """Settles footprints that stream by in their order; the result does not depend on the batches."""

    def __init__(self, held: int = _HELD, *, swallow: bool = True) -> None:
        """Start with no footprint.

        Args:
            swallow: Leave out a footprint that lies within the outline of another: in a hole that was filled.
            held: How many are looked back upon. A footprint that ends so many after its neighbour can only
                go back itself.
        """
        self._limit = held
        self._swallow = swallow
        self._held: Drawn | None = None

    def push(self, drawn: Drawn) -> Drawn:
        """Take the next footprints, and give those that are settled."""
        fresh = len(drawn)
        if self._held is not None:
            drawn = join([self._held, drawn])
        new = np.arange(len(drawn) - fresh, len(drawn))
        if self._swallow:
            drawn, new = _outside_of_others(drawn, new)
        drawn = _settled(drawn, new)
        settled = max(len(drawn) - self._limit, 0)
        self._held = drawn.take(np.arange(settled, len(drawn)))
        return drawn.take(np.arange(settled))

    def finish(self) -> Drawn | None:
        """Give the rest; None where nothing was ever pushed."""
        return self._held


def _settled(drawn: Drawn, fresh: NDArray[np.int64]) -> Drawn:
    """Take fits back until none overlaps one of those numbered in `fresh`."""
    component = np.unique(drawn.order[:, :3], axis=0, return_inverse=True)[1].ravel()
    is_raw = drawn.method == "raw"
    polygons = drawn.polygons.copy()
    changed = fresh
    while len(changed):
        one, other = _overlapping(polygons, changed, is_raw)
        spoilt = np.zeros(int(component.max(initial=-1)) + 1, np.bool_)
        spoilt[component[one]] = spoilt[component[other]] = True
        changed = np.flatnonzero(spoilt[component] & ~is_raw)
        polygons[changed] = drawn.raw[changed]
        is_raw[changed] = True
    back = is_raw & (drawn.method != "raw")
    if not back.any():
        return drawn
    return replace(
        drawn,
        polygons=polygons,
        method=np.where(back, "raw", drawn.method),
        iou_raw=np.where(back, 1.0, drawn.iou_raw),
        max_shift_m=np.where(back, 0.0, drawn.max_shift_m),
    )


def _outside_of_others(drawn: Drawn, fresh: NDArray[np.int64]) -> tuple[Drawn, NDArray[np.int64]]:
    """Leave out what lies within another; give the rest, and the numbers that `fresh` have in it."""
    one, other = _near(drawn.raw, fresh)
    inner = other[shapely.contains_properly(drawn.raw[one], drawn.raw[other])]
    inner = np.append(inner, one[shapely.contains_properly(drawn.raw[other], drawn.raw[one])])
    kept = np.setdiff1d(np.arange(len(drawn)), inner)
    return drawn.take(kept), np.flatnonzero(np.isin(kept, fresh))


def _overlapping(
    polygons: NDArray[np.object_], some: NDArray[np.int64], is_raw: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs of one of `some` and any polygon, not both raw, that share ground."""
    one, other = _near(polygons, some)
    fitted = ~(is_raw[one] & is_raw[other])
    one, other = one[fitted], other[fitted]
    meet = shapely.intersects(polygons[one], polygons[other])
    one, other = one[meet], other[meet]
    smaller = np.minimum(shapely.area(polygons[one]), shapely.area(polygons[other]))
    shared = shapely.area(shapely.intersection(polygons[one], polygons[other])) > _TOUCH * smaller
    return one[shared], other[shared]


def _near(
    polygons: NDArray[np.object_], some: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs of one of `some` and any other polygon, each once, whose boxes touch."""
    which, other = shapely.STRtree(polygons).query(polygons[some])
    one = some[which]
    is_new = np.zeros(len(polygons), np.bool_)
    is_new[some] = True
    once = (one < other) | ((one != other) & ~is_new[other])
    return one[once], other[once]
