"""The part of a raster that was asked for, as polygons."""

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.errors import InputError
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Bounds, Grid, show_bounds
from buildmap.raster.windows import Window


def bounding_box(polygons: NDArray[np.object_]) -> Bounds:
    """Give left, bottom, right, top of polygons.

    Raises:
        InputError: If there is no polygon, or all are empty.
    """
    filled = polygons[~shapely.is_empty(polygons)]
    if len(filled) == 0:
        raise InputError("the area has no polygon", hint="draw at least one that is not empty")
    left, bottom, right, top = map(float, shapely.total_bounds(filled))
    return left, bottom, right, top


class Area:
    """Polygons on a grid: tells which windows they touch, and which pixels they leave out."""

    def __init__(self, polygons: NDArray[np.object_], grid: Grid) -> None:
        """Lay polygons on a grid.

        Args:
            polygons: (n,) valid shapely polygons in the CRS of the grid.
            grid: What windows refer to.

        Raises:
            InputError: If there is no polygon, or none touches the grid.
        """
        extent = bounding_box(polygons)
        self._polygons = polygons
        self._grid = grid
        self._tree = shapely.STRtree(polygons)
        self._index = FootprintIndex(polygons)
        if not self.touches(grid.window):
            raise InputError(
                f"the area does not touch the raster: extents {show_bounds(extent)} "
                f"and {show_bounds(grid.bounds)}",
                hint=f"it must lie on the raster, whose CRS is {grid.crs}",
            )

    def __reduce__(self) -> tuple[type["Area"], tuple[NDArray[np.object_], Grid]]:
        return Area, (self._polygons, self._grid)

    def touches(self, window: Window) -> bool:
        """Tell whether a polygon touches a window."""
        return len(self._tree.query(_outline(window, self._grid), predicate="intersects")) > 0

    def outside(self, window: Window) -> NDArray[np.bool_]:
        """Give the pixels of a window whose centres no polygon covers, (rows, cols)."""
        part = self._grid.part(window)
        inside = self._index.burn(transform=part.transform, height=part.height, width=part.width)
        return ~inside


def outlines_of(windows: Iterable[Window], grid: Grid) -> NDArray[np.object_]:
    """Give the outlines of windows of a grid as polygons in its CRS."""
    return np.array([_outline(window, grid) for window in windows], dtype=object)


def _outline(window: Window, grid: Grid) -> shapely.Polygon:
    left, top = window.col_off, window.row_off
    right, bottom = left + window.width, top + window.height
    corners = [(left, top), (left, bottom), (right, bottom), (right, top)]
    return shapely.Polygon([grid.transform @ corner for corner in corners])
