"""Fewer corners and no pinholes, in pixels, where tolerances are the same along rows and columns."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.validity import roll_back


def simplify(polygons: NDArray[np.object_], tolerance_px: NDArray[np.float64]) -> NDArray[np.object_]:
    """Drop corners that lie within a tolerance of the line without them (Douglas and Peucker).

    Args:
        polygons: (n,) valid.
        tolerance_px: (n,) in the polygons' own units; 0 leaves a polygon as it is.

    Returns:
        (n,) valid; a polygon that simplification would spoil stays as it was.
    """
    return roll_back(shapely.simplify(polygons, tolerance_px, preserve_topology=True), polygons)


def fill_holes(polygons: NDArray[np.object_], min_area_px: NDArray[np.float64]) -> NDArray[np.object_]:
    """Fill interiors smaller than an area.

    Args:
        polygons: (n,) valid.
        min_area_px: (n,) in the square of the polygons' own units.
    """
    filled = polygons.copy()
    for number in np.flatnonzero(shapely.get_num_interior_rings(polygons)):
        polygon = polygons[number]
        areas = shapely.area(shapely.polygons(list(polygon.interiors)))
        kept = [
            ring for ring, area in zip(polygon.interiors, areas, strict=True) if area >= min_area_px[number]
        ]
        if len(kept) < len(areas):
            filled[number] = shapely.Polygon(polygon.exterior, kept)
    return filled
