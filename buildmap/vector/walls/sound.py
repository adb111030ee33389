"""When footprints of a group are good enough: a coverage, and each near what it was drawn from."""

import numpy as np
import shapely
from numpy.typing import NDArray

_IOU_MIN = 0.8
_FORGIVEN_PX = 0.75
"""Distance by which all walls of a footprint may move, whatever that does to its IoU."""


def is_sound(polygons: NDArray[np.object_]) -> bool:
    """Tell whether all are valid polygons, and those that touch share all vertices there."""
    return bool(is_polygon(polygons).all() and shapely.coverage_is_valid(polygons))


def is_polygon(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell which shapes, some of them None, are valid polygons, and not empty."""
    of_type = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    return np.asarray(of_type & ~shapely.is_empty(shapes) & shapely.is_valid(shapes))


def is_near(
    polygons: NDArray[np.object_], raw: NDArray[np.object_], iou: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which polygons cover nearly the same ground as before.

    Args:
        polygons: (n,) valid.
        raw: (n,) what they were drawn from.
        iou: (n,) intersection over union of the two.
    """
    area = (shapely.area(polygons) + shapely.area(raw)) / (1 + iou)  # of the union
    forgiven = _FORGIVEN_PX * shapely.length(polygons)
    return np.asarray((iou >= _IOU_MIN) | ((iou >= _IOU_MIN**2) & ((1 - iou) * area <= forgiven)))
