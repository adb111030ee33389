"""The ground that is asked for: polygons of a layer, and what lies in them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.errors import InputError
from buildmap.vector.reader import Box, read_footprints


def read_area(path: Path, *, crs: object | None, bounds: Box, of: str) -> NDArray[np.object_]:
    """Read the polygons of an area of interest that touch a map.

    Args:
        path: Layer of polygons, in any CRS.
        crs: Of the map.
        bounds: Left, bottom, right, top of the map.
        of: What the map is called in messages.

    Returns:
        (n,) polygons in `crs`, at least one.

    Raises:
        InputError: If the map has no CRS, or nothing of the layer touches it.
    """
    if crs is None:
        raise InputError(f"{of} has no CRS, so --aoi has no place on it", hint="use --bbox instead")
    polygons = read_footprints(path, crs=crs, bbox=bounds).polygons
    if not len(polygons):
        everywhere = read_footprints(path, crs=crs).polygons
        extent = _shown(shapely.total_bounds(everywhere)) if len(everywhere) else "none"
        raise InputError(f"{path} does not touch {of}: extents {extent} and {_shown(bounds)}")
    return polygons


class Within:
    """Tells which footprints belong to an area: those whose inside point lies in it."""

    def __init__(self, area: NDArray[np.object_]) -> None:
        """Index (n,) polygons."""
        self._tree = shapely.STRtree(area)

    def __call__(self, polygons: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Tell for each of (n,) polygons whether it belongs; a point on the border lies in the area."""
        inside = np.zeros(len(polygons), np.bool_)
        which, _ = self._tree.query(shapely.point_on_surface(polygons), predicate="intersects")
        inside[which] = True
        return inside


def _shown(bounds: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.9g}" for value in bounds) + ")"
