"""Fitting must not make neighbours overlap: where it did, both go back towards their outlines.

What stands in a hole that was filled belongs to the building around it, and is no footprint of its own.
"""

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.drawn import Drawn, join
from buildmap.vector.fitting.guard import closeness

_HELD = 8_000
"""Footprints that may still meet a neighbour: a dense row of buildings over 400,000 columns."""
_TOUCH = 1e-6
"""Share of the smaller of two polygons that they may have in common by the rounding of coordinates."""
_SIMPLIFY_PX = 1.0
_SIMPLIFY_TOGETHER_PX = 2.0
"""Of Visvalingam and Whyatt: the square root of the area that a corner may stand for."""
_FITTED, _SIMPLE, _RAW = 0, 1, 2


class Neighbours:
    """Settles footprints that stream by in their order; the result does not depend on the batches."""

    def __init__(self, held: int = _HELD, *, in_pixels: bool = True) -> None:
        """Start with no footprint.

        Args:
            held: How many are looked back upon. A footprint that ends so many after its neighbour can only
                go back itself.
            in_pixels: They were drawn from a raster, in its pixels: one that lies within the outline of
                another stands in a hole that was filled, and is left out; and a fit goes back to a simplified
                outline first, and to the outline itself only if that overlaps too.
        """
        self._limit = held
        self._in_pixels = in_pixels
        self._held: Drawn | None = None

    def push(self, drawn: Drawn) -> Drawn:
        """Take the next footprints, and give those that are settled."""
        fresh = len(drawn)
        if self._held is not None:
            drawn = join([self._held, drawn])
        new = np.arange(len(drawn) - fresh, len(drawn))
        if self._in_pixels:
            drawn, new = _outside_of_others(drawn, new)
        drawn = _settled(drawn, new, first_step=_SIMPLE if self._in_pixels else _RAW)
        settled = max(len(drawn) - self._limit, 0)
        self._held = drawn.take(np.arange(settled, len(drawn)))
        return drawn.take(np.arange(settled))

    def finish(self) -> Drawn | None:
        """Give the rest; None where nothing was ever pushed."""
        return self._held


def _outside_of_others(drawn: Drawn, fresh: NDArray[np.int64]) -> tuple[Drawn, NDArray[np.int64]]:
    """Leave out what lies within another; give the rest, and the numbers that `fresh` have in it."""
    one, other = _near(drawn.raw, fresh)
    inner = other[shapely.contains_properly(drawn.raw[one], drawn.raw[other])]
    inner = np.append(inner, one[shapely.contains_properly(drawn.raw[other], drawn.raw[one])])
    kept = np.setdiff1d(np.arange(len(drawn)), inner)
    return drawn.take(kept), np.flatnonzero(np.isin(kept, fresh))


def _settled(drawn: Drawn, fresh: NDArray[np.int64], *, first_step: int) -> Drawn:
    """Take fits back, step by step, until none overlaps one of those numbered in `fresh`."""
    _, component = np.unique(drawn.order[:, :3], axis=0, return_inverse=True)
    component = component.ravel()
    step = np.where(drawn.method == "raw", _RAW, _FITTED)
    polygons = drawn.polygons.copy()
    back = np.zeros(len(drawn), np.bool_)
    changed = fresh
    while len(changed):
        one, other = _overlapping(polygons, changed, step == _RAW)
        spoilt = np.isin(component, np.unique(component[np.append(one, other)]))
        changed = np.flatnonzero(spoilt & (step < _RAW))
        step[changed] = np.maximum(step[changed] + 1, first_step)
        polygons[changed] = drawn.raw[changed]
        simple = changed[step[changed] == _SIMPLE]
        polygons[simple] = _simplified(drawn.raw[simple], component[simple])
        back[changed] = True
    return _described(drawn, polygons, step, back)


def _simplified(raw: NDArray[np.object_], component: NDArray[np.int64]) -> NDArray[np.object_]:
    """Drop corners of outlines, and leave walls shared; what would not be valid stays as it is."""
    simple = np.asarray(shapely.simplify(raw, _SIMPLIFY_PX, preserve_topology=True), np.object_)
    _, first, count = np.unique(component, return_index=True, return_counts=True)
    for one in component[first[count > 1]]:
        group = component == one
        simple[group] = shapely.coverage_simplify(raw[group], _SIMPLIFY_TOGETHER_PX)
        if not shapely.is_valid(simple[group]).all():
            simple[group] = raw[group]
    return np.where(shapely.is_valid(simple), simple, raw)


def _described(
    drawn: Drawn, polygons: NDArray[np.object_], step: NDArray[np.int64], back: NDArray[np.bool_]
) -> Drawn:
    """Say of those that went back how they are drawn now."""
    if not back.any():
        return drawn
    near = closeness(polygons[back], drawn.raw[back])
    method, iou, shift_m = drawn.method.astype("U8"), drawn.iou_raw.copy(), drawn.max_shift_m.copy()
    method[back] = np.where(step[back] == _RAW, "raw", "simplify")
    iou[back] = near.iou
    shift_m[back] = near.shift_px * drawn.pixel_m[back]
    return replace(drawn, polygons=polygons, method=method, iou_raw=iou, max_shift_m=shift_m)


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
