"""Polygons of one CRS in another, vertex by vertex."""

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from buildmap.vector.crs import as_crs

_HALF_WORLD_DEG = 180.0


def reproject(
    polygons: NDArray[np.object_], from_crs: object, to_crs: object
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Move polygons into another CRS; what is invalid there is mended, what has no place there is dropped.

    Edges stay straight between their vertices. Of a polygon that falls apart when it is mended, the
    largest part is kept. A polygon that the edge of a geographic CRS cuts in two has no place there.

    Args:
        polygons: (n,) valid polygons.
        from_crs: What pyproj understands as a CRS, or an object with `to_wkt`.
        to_crs: The same.

    Returns:
        (m,) valid polygons, and (n,) which of those given they are.

    Raises:
        InputError: If one of the two is no CRS.
    """
    source, target = as_crs(from_crs), as_crs(to_crs)
    move = projection(source, target)
    if move is None:
        return polygons, np.ones(len(polygons), np.bool_)
    moved = move(polygons)
    arrived = np.flatnonzero(is_finite(moved))
    moved = moved[arrived]
    sick = np.flatnonzero(~shapely.is_valid(moved))
    moved[sick] = [_largest_part(shape) for shape in moved[sick]]
    good = ~shapely.is_empty(moved)
    if target.is_geographic:
        left, _, right, _ = shapely.bounds(moved).reshape(-1, 4).T
        good &= ~(right - left >= _HALF_WORLD_DEG)
    keep = np.zeros(len(polygons), np.bool_)
    keep[arrived[good]] = True
    return moved[good], keep


def projection(
    source: CRS | None, target: CRS | None
) -> Callable[[NDArray[np.object_]], NDArray[np.object_]] | None:
    """Give what moves the vertices of geometries from CRS to CRS, or None where nothing has to move.

    A vertex outside the domain of the target becomes infinite.
    """
    if source is None or target is None or source == target:
        return None
    transformer = Transformer.from_crs(source, target, always_xy=True)
    return lambda shapes: np.asarray(shapely.transform(shapes, transformer.transform, interleaved=False))


def is_finite(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell which geometries have neither infinite coordinates nor NaN, (n,)."""
    coordinates, index = shapely.get_coordinates(shapes, return_index=True)
    finite = np.ones(len(shapes), np.bool_)
    finite[index[~np.isfinite(coordinates).all(axis=1)]] = False
    return finite


def _largest_part(shape: shapely.Polygon) -> shapely.Polygon:
    """Make a polygon valid; it is empty where nothing is left."""
    mended = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    parts = [part for part in shapely.get_parts(mended) if isinstance(part, shapely.Polygon)]
    return max(parts, key=shapely.area, default=shapely.Polygon())
