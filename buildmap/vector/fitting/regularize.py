"""Outlines as a cartographer would draw them: few straight walls, right angles, circles; none moved far."""

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.fitting.guard import Limits, closeness
from buildmap.vector.fitting.partition import Prices
from buildmap.vector.fitting.polygons import FAILED, ROUND, Smoothing, fit_polygons
from buildmap.vector.ragged import owners, to_ragged

_STEPS = (
    Smoothing(
        prices=Prices(corner=100.0, diagonal=60.0, free=180.0, hidden=12.0, hidden_max=14), shortest=2.5
    ),
    Smoothing(prices=Prices(corner=30.0, diagonal=15.0, free=40.0, hidden=20.0, hidden_max=4), shortest=2.0),
)
"""Tried in turn."""
_LIMITS = Limits(iou_min=0.75, area_error_max=0.2, shift_max_px=9.0)
_WIDE_LIMITS = Limits(iou_min=0.6, area_error_max=0.5, shift_max_px=np.inf)
"""Of what somebody asked to be simplified by so much."""
_SIMPLIFY_PX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Footprints drawn anew, and how near they are to what they were drawn from."""

    polygons: NDArray[np.object_]
    """(n,) valid, in the units of the input."""
    method: NDArray[np.object_]
    """(n,) "adaptive", "circle", "simplify" or "raw": what was used."""
    iou_raw: NDArray[np.float64]
    """(n,) intersection over union with the input."""
    max_shift: NDArray[np.float64]
    """(n,) pixels: greatest distance of a corner of either outline from the other outline."""


def regularize(polygons: NDArray[np.object_]) -> Fitted:
    """Draw footprints with straight walls, at right angles where the evidence allows it, or as circles.

    A footprint whose fit is invalid or too far from its outline is fitted again with more detail,
    then simplified, then left as it is. The result does not depend on the place, in whole pixels, nor on
    the other footprints.

    Args:
        polygons: (n,) valid, in pixels that are square on the ground: outlines along pixel edges, sub-pixel
            outlines, or any others.
    """
    local, corner = _at_origin(polygons)
    result, left = _raw(local), np.arange(len(local))
    for smoothing in _STEPS:
        fitted, kinds = _fit(local[left], smoothing)
        names = np.where(kinds == ROUND, "circle", "adaptive").astype(object)
        left = _accept(result, local, left, fitted, names)
    _accept(result, local, left, _simplify(local[left], _SIMPLIFY_PX), _named("simplify", len(left)))
    return _in_place(result, polygons, corner)


def simplified(polygons: NDArray[np.object_], tolerance_px: NDArray[np.float64]) -> Fitted:
    """Drop corners that lie within a tolerance of the outline without them (Douglas and Peucker).

    A footprint of which too little would be left, or is not valid any more, is simplified by half the
    tolerance, by a quarter, and then left as it is.

    Args:
        polygons: (n,) valid, in pixels that are square on the ground.
        tolerance_px: (n,) pixels.
    """
    local, corner = _at_origin(polygons)
    result = _raw(local)
    left = np.arange(len(local))
    for part in (1, 2, 4):
        drawn = _simplify(local[left], tolerance_px[left] / part)
        left = _accept(result, local, left, drawn, _named("simplify", len(left)), _WIDE_LIMITS)
    return _in_place(result, polygons, corner)


def _at_origin(polygons: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Move polygons by whole pixels to where numbers are small, so that no place is more exact than another.

    Returns:
        (n,) polygons, and (n, 2) where they came from.
    """
    corner = np.floor(shapely.bounds(polygons).reshape(-1, 4)[:, :2])
    return _moved(polygons, -corner), corner


def _moved(polygons: NDArray[np.object_], way: NDArray[np.float64]) -> NDArray[np.object_]:
    outlines = to_ragged(polygons)
    moved = outlines.corners + way[owners(outlines)]
    offsets = (outlines.rings, outlines.polygons)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, moved, offsets), object)


def _in_place(result: Fitted, originals: NDArray[np.object_], corner: NDArray[np.float64]) -> Fitted:
    """Move what was drawn anew back to where it belongs; what was not is the original itself."""
    polygons = np.where(result.method == "raw", originals, _moved(result.polygons, corner))
    return replace(result, polygons=polygons)


def _raw(polygons: NDArray[np.object_]) -> Fitted:
    count = len(polygons)
    return Fitted(
        polygons=polygons.copy(),
        method=_named("raw", count),
        iou_raw=np.ones(count),
        max_shift=np.zeros(count),
    )


def _named(method: str, count: int) -> NDArray[np.object_]:
    return np.full(count, method, object)


def _fit(
    polygons: NDArray[np.object_], smoothing: Smoothing
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    fits, kinds = fit_polygons(to_ragged(polygons), smoothing)
    fitted = np.full(len(polygons), None, object)
    known = kinds != FAILED
    polygon_starts = np.append(fits.polygons[:-1][known], fits.polygons[-1])
    fitted[known] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, fits.corners, (fits.rings, polygon_starts)
    )
    return fitted, kinds


def _simplify(
    polygons: NDArray[np.object_], tolerance_px: float | NDArray[np.float64]
) -> NDArray[np.object_]:
    return np.asarray(shapely.simplify(polygons, tolerance_px, preserve_topology=True), object)


def _accept(
    result: Fitted,
    raw: NDArray[np.object_],
    tried: NDArray[np.int64],
    drawn: NDArray[np.object_],
    names: NDArray[np.object_],
    limits: Limits = _LIMITS,
) -> NDArray[np.int64]:
    """Enter what is near enough to its raw outline; give the rest."""
    near = closeness(drawn, raw[tried])
    good = near.within(limits)
    result.polygons[tried[good]] = drawn[good]
    result.method[tried[good]] = names[good]
    result.iou_raw[tried[good]] = near.iou[good]
    result.max_shift[tried[good]] = near.shift_px[good]
    return tried[~good]
