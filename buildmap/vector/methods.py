"""The methods by which outlines are fitted, on pixels that may not be square on the ground."""

from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.drawn import ALONE, members
from buildmap.vector.fitting.regularize import Fitted, regularize, simplified
from buildmap.vector.outlining import Outlining
from buildmap.vector.walls.coverage import GroupFit, fit_groups

_SQUARE = 1e-3
"""Share by which the sides of a pixel may differ on the ground and still count as equal."""


def fit(
    raw: NDArray[np.object_], group: NDArray[np.int64], sides_m: NDArray[np.float64], settings: Outlining
) -> Fitted:
    """Fit outlines: those that share walls together, every other by itself.

    Args:
        raw: (n,) valid, in pixels.
        group: (n,) equal for those that share walls; ALONE for one that shares none.
        sides_m: (n, 2) metres on the ground of a pixel along a row and along a column.
        settings: Method and tolerance. The chain of the paper looks at all outlines of a raster, so it
            comes later, and leaves them raw here.

    Returns:
        In pixels; angles are right where they are right on the ground.
    """
    if settings.method in ("raw", "paper"):
        return _as_they_are(raw)
    stretch = sides_m[:, 0] / sides_m[:, 1]
    stretch[np.abs(stretch - 1) <= _SQUARE] = 1.0
    square = _stretched(raw, stretch)
    tolerance = np.ones(len(raw)) if settings.simplify_m is None else settings.simplify_m / sides_m[:, 1]
    fitted = _as_they_are(square)
    alone = np.flatnonzero(group == ALONE)
    _put(fitted, alone, _fit_alone(square[alone], tolerance[alone], settings))
    # a tolerance in metres may be another for each group, and must not depend on what else is fitted
    together = members(group) if settings.simplify_m is not None else [np.flatnonzero(group != ALONE)]
    for some in together:
        if len(some):
            fit_outlines = partial(_fit_like, tolerance_px=float(tolerance[some[0]]), settings=settings)
            _put(fitted, some, fit_groups(square[some], group[some], fit_outlines))
    return Fitted(
        polygons=_stretched(fitted.polygons, 1 / stretch),
        method=fitted.method,
        iou_raw=fitted.iou_raw,
        max_shift=fitted.max_shift,
    )


def _fit_alone(
    polygons: NDArray[np.object_], tolerance_px: NDArray[np.float64], settings: Outlining
) -> Fitted:
    return simplified(polygons, tolerance_px) if settings.method == "simplify" else regularize(polygons)


def _fit_like(
    polygons: NDArray[np.object_], *, tolerance_px: float, settings: Outlining
) -> NDArray[np.object_]:
    return _fit_alone(polygons, np.full(len(polygons), tolerance_px), settings).polygons


def _as_they_are(polygons: NDArray[np.object_]) -> Fitted:
    count = len(polygons)
    return Fitted(
        polygons=polygons.copy(),
        method=np.full(count, "raw", np.object_),
        iou_raw=np.ones(count),
        max_shift=np.zeros(count),
    )


def _put(fitted: Fitted, some: NDArray[np.int64], found: Fitted | GroupFit) -> None:
    for name in ("polygons", "method", "iou_raw", "max_shift"):
        getattr(fitted, name)[some] = getattr(found, name)


def _stretched(polygons: NDArray[np.object_], by: NDArray[np.float64]) -> NDArray[np.object_]:
    """Multiply the columns of each polygon; those to be multiplied by one are the same objects."""
    changed = np.flatnonzero(by != 1)
    if not len(changed):
        return polygons
    stretched = polygons.copy()
    corners, owner = shapely.get_coordinates(polygons[changed], return_index=True)
    corners[:, 0] *= by[changed][owner]
    stretched[changed] = shapely.set_coordinates(polygons[changed].copy(), corners)
    return stretched
