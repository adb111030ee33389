"""Fitting must not make neighbours overlap: where it did, both go back to their outlines."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.drawn import Drawn, join

_HELD = 50_000
"""Footprints that may still meet a neighbour, several rows of buildings of the widest raster."""
_TOUCH = 1e-6
"""Share of the smaller of two polygons that they may have in common by the rounding of coordinates."""


class Neighbours:
    """Settles footprints that stream by in their order; the result does not depend on the batches."""

    def __init__(self, held: int = _HELD) -> None:
        """Start with no footprint.

        Args:
            held: How many are looked back upon. A footprint that ends so many after its neighbour can only
                go back itself.
        """
        self._limit = held
        self._held: Drawn | None = None

    def push(self, drawn: Drawn) -> Drawn:
        """Take the next footprints, and give those that are settled."""
        fresh = len(drawn)
        if self._held is not None:
            drawn = join([self._held, drawn])
        drawn = _settled(drawn, np.arange(len(drawn) - fresh, len(drawn)))
        settled = max(len(drawn) - self._limit, 0)
        self._held = drawn.take(np.arange(settled, len(drawn)))
        return drawn.take(np.arange(settled))

    def finish(self) -> Drawn | None:
        """Give the rest; None where nothing was ever pushed."""
        return self._held


def _settled(drawn: Drawn, fresh: NDArray[np.int64]) -> Drawn:
    """Take fits back until no footprint overlaps one of those numbered in `fresh`."""
    component = np.unique(drawn.order[:, :3], axis=0, return_inverse=True)[1].ravel()
    is_raw = drawn.method == "raw"
    polygons = drawn.polygons.copy()
    changed = fresh
    while len(changed):
        one, other = _overlapping(polygons, changed)
        fitted = ~is_raw[one] | ~is_raw[other]
        spoilt = np.zeros(int(component.max(initial=-1)) + 1, np.bool_)
        spoilt[component[one[fitted]]] = spoilt[component[other[fitted]]] = True
        changed = np.flatnonzero(spoilt[component] & ~is_raw)
        polygons[changed] = drawn.raw[changed]
        is_raw[changed] = True
    back = is_raw & (drawn.method != "raw")
    if not back.any():
        return drawn
    return Drawn(
        polygons=polygons,
        raw=drawn.raw,
        order=drawn.order,
        confidence=drawn.confidence,
        edge_certainty=drawn.edge_certainty,
        method=np.where(back, "raw", drawn.method),
        iou_raw=np.where(back, 1.0, drawn.iou_raw),
        max_shift_m=np.where(back, 0.0, drawn.max_shift_m),
    )


def _overlapping(
    polygons: NDArray[np.object_], some: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs of one of `some` with any polygon, that share ground."""
    tree = shapely.STRtree(polygons)
    which, other = tree.query(polygons[some])
    one = some[which]
    apart = one != other
    one, other = one[apart], other[apart]
    meet = shapely.intersects(polygons[one], polygons[other])
    one, other = one[meet], other[meet]
    smaller = np.minimum(shapely.area(polygons[one]), shapely.area(polygons[other]))
    shared = shapely.area(shapely.intersection(polygons[one], polygons[other])) > _TOUCH * smaller
    return one[shared], other[shared]
