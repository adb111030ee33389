"""Fitting must not make neighbours overlap: where it did, one of them goes back towards its outline.

What stands in a hole that was filled belongs to the building around it, and is no footprint of its own.
"""

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.drawn import Drawn, join
from buildmap.vector.fitting.guard import closeness
from buildmap.vector.walls.overlaps import RAW, SIMPLE, Fits, share_ground

_HELD = 8_000
"""Footprints that may still meet a neighbour: a dense row of buildings over 400,000 columns."""


class Neighbours:
    """Settles footprints that stream by in their order; the result does not depend on the batches.

    Batches hold whole components.
    """

    def __init__(self, held: int = _HELD, *, in_pixels: bool = True) -> None:
        """Start with no footprint.

        Args:
            held: How many are looked back upon, and the rest of their component. A footprint that ends
                later than so many after its neighbour does not meet it.
            in_pixels: They were drawn from a raster, in its pixels: one that lies within the outline of
                another stands in a hole that was filled, and is left out; and a fit is cut along its
                neighbour, or goes back to a simplified outline, and to the outline itself only if that
                overlaps too.
        """
        self._limit = held
        self._in_pixels = in_pixels
        self._held: Drawn | None = None
        self._step = np.empty(0, np.int64)

    def push(self, drawn: Drawn) -> Drawn:
        """Take the next footprints, and give those that are settled."""
        fresh = len(drawn)
        step = np.append(self._step, np.where(drawn.method == "raw", RAW, 0))
        if self._held is not None:
            drawn = join([self._held, drawn])
        new = np.arange(len(drawn) - fresh, len(drawn))
        if self._in_pixels:
            kept = _outside_of_others(drawn, new)
            drawn, step, new = drawn.take(kept), step[kept], np.flatnonzero(np.isin(kept, new))
        component = _components(drawn)
        fits = Fits(drawn.polygons, drawn.raw, component, step, in_pixels=self._in_pixels)
        fits.settle(*_overlapping(drawn.polygons, new, step == RAW))
        drawn = _described(drawn, fits, fits.step != step)
        settled = max(len(drawn) - self._limit, 0)
        if 0 < settled < len(drawn):
            settled = int(np.searchsorted(component, component[settled]))
        self._held = drawn.take(np.arange(settled, len(drawn)))
        self._step = fits.step[settled:]
        return drawn.take(np.arange(settled))

    def finish(self) -> Drawn | None:
        """Give the rest; None where nothing was ever pushed."""
        return self._held


def _components(drawn: Drawn) -> NDArray[np.int64]:
    """Number the components, (n,), in their order; those of a component stand together."""
    new = (np.diff(drawn.order[:, :3], axis=0) != 0).any(axis=1)
    return np.append(0, np.cumsum(new))[: len(drawn)]


def _outside_of_others(drawn: Drawn, fresh: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the numbers of those that do not lie within another; one of each pair is of `fresh`."""
    one, other = _near(drawn.raw, fresh)
    inner = other[shapely.contains_properly(drawn.raw[one], drawn.raw[other])]
    inner = np.append(inner, one[shapely.contains_properly(drawn.raw[other], drawn.raw[one])])
    return np.setdiff1d(np.arange(len(drawn)), inner)


def _described(drawn: Drawn, fits: Fits, taken_back: NDArray[np.bool_]) -> Drawn:
    """Say of those that were drawn anew how they are drawn now."""
    again = taken_back | (fits.polygons != drawn.polygons)
    if not again.any():
        return drawn
    near = closeness(fits.polygons[again], drawn.raw[again])
    method, iou, shift_m = drawn.method.astype("U8"), drawn.iou_raw.copy(), drawn.max_shift_m.copy()
    method[again & (fits.step == SIMPLE)] = "simplify"
    method[again & (fits.step == RAW)] = "raw"
    iou[again] = near.iou
    shift_m[again] = near.shift_px * drawn.pixel_m[again]
    return replace(drawn, polygons=fits.polygons, method=method, iou_raw=iou, max_shift_m=shift_m)


def _overlapping(
    polygons: NDArray[np.object_], some: NDArray[np.int64], is_raw: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs of one of `some` and any polygon, not both raw, that share ground."""
    one, other = _near(polygons, some)
    fitted = ~(is_raw[one] & is_raw[other])
    one, other = one[fitted], other[fitted]
    shared = share_ground(polygons[one], polygons[other])
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
