"""Groups that are scored separately: named regions of ground, GSD bins, size classes of buildings."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from buildmap.errors import InputError
from buildmap.metrics.average_precision import SIZES_M2
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from buildmap.vector.reader import column_names, read_in_batches

GSD_EDGES_M = (0.02, 0.04, 0.06, 0.08, 0.10, 0.15, 0.20, 0.30, 0.50, 1.00)
"""Edges of the GSD bins. Sci-Net's Figure 5 plots its scores by cm per pixel, over 2 to 20 cm, and its text
tells models apart at 8 cm; it names no bins. Coarser ones follow, for imagery from planes and satellites."""
SIZE_CLASSES_M2 = tuple(size.name for size in SIZES_M2)
"""Names of the size classes, those of average precision."""
UNKNOWN_GSD = "unknown"
"""Name of the group of images without a known GSD."""
NO_NAME = "(no name)"
"""Name of the region of polygons whose column is empty."""

_NOMINAL = 1.01
_POINTS_AT_A_TIME = 100_000


class Regions:
    """Named polygons on a grid; several may share a name, and where they overlap the last one wins."""

    def __init__(self, polygons: NDArray[np.object_], labels: Sequence[str], grid: Grid) -> None:
        """Lay polygons on a grid.

        Args:
            polygons: (n,) valid shapely polygons in the CRS of the grid.
            labels: (n,) the name of each.
            grid: What windows refer to.

        Raises:
            ValueError: If polygons and names are not as many.
        """
        if len(polygons) != len(labels):
            raise ValueError(f"{len(polygons)} polygons and {len(labels)} names")
        numbers = {name: number for number, name in enumerate(dict.fromkeys(labels))}
        self._names = tuple(numbers)
        self._numbers = np.array([numbers[name] for name in labels], np.int32)
        self._polygons = polygons
        self._index = FootprintIndex(polygons)
        self._grid = grid

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which the layer has them."""
        return self._names

    def label(self, window: Window) -> NDArray[np.int32]:
        """Tell in which region the centre of each pixel of a window lies.

        Returns:
            (rows, cols) index into `names`, -1 = in none.
        """
        part = self._grid.part(window)
        return self._index.burn_numbers(
            self._numbers, transform=part.transform, height=part.height, width=part.width
        )

    def of_points(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Tell in which region each point lies.

        Args:
            points: (n, 2) x, y in the CRS of the grid.

        Returns:
            (n,) index into `names`, -1 = in none.
        """
        last = np.full(len(points), -1, np.int64)
        for start in range(0, len(points), _POINTS_AT_A_TIME):
            # polygons ask and points are the tree: GEOS prepares who asks, and regions are large
            some = shapely.STRtree(shapely.points(points[start : start + _POINTS_AT_A_TIME]))
            polygon, point = some.query(self._polygons, predicate="intersects")
            np.maximum.at(last, start + point, polygon)
        return np.append(self._numbers, np.int32(-1))[last]


def read_regions(path: Path, *, column: str | None, grid: Grid) -> Regions:
    """Read named polygons from a layer.

    Args:
        path: Vector file.
        column: Whose text is the name of a region; None takes the first column of text, or if there is
            none the number of the polygon in the layer, from 1.
        grid: To lay them on.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it cannot be read, lacks the column, or holds no polygons, or if only one of grid and
            layer has a CRS.
    """
    wanted = tuple(column_names(path)) if column is None else (column,)
    batches = list(read_in_batches(path, crs=grid.crs, columns=wanted))
    polygons = np.concatenate([batch.polygons for batch in batches])
    if len(polygons) == 0:
        raise InputError(f"{path} holds no polygons, so it names no region")
    layer_crs = batches[0].crs
    if grid.crs is None and layer_crs is not None:
        raise InputError(
            f"{path} is in {layer_crs.name}, what it is laid on has no CRS",
            hint="rio edit-info --crs EPSG:CODE RASTER",
        )
    values = {name: np.concatenate([batch.columns[name] for batch in batches]) for name in wanted}
    named = column if column is not None else _first_text(values)
    if named is None:
        return Regions(polygons, [str(number) for number in range(1, len(polygons) + 1)], grid)
    return Regions(polygons, [_as_name(value) for value in values[named].tolist()], grid)


def gsd_bins(gsd_m: Sequence[float], edges_m: Sequence[float] = GSD_EDGES_M) -> list[str]:
    """Name the GSD bin of each image, such as "0.10-0.20 m"; a bin holds its lower edge.

    A GSD less than 1 % below an edge counts as on it: pixels of 0.30 m in UTM measure 0.2999 m on the ground
    in one place and 0.3003 m in another.

    Args:
        gsd_m: Of each image, NaN where unknown.
        edges_m: Ascending.

    Raises:
        ValueError: If the edges do not ascend.
    """
    edges = np.asarray(edges_m, np.float64)
    if len(edges) == 0 or (np.diff(edges) <= 0).any():
        raise ValueError(f"edges of GSD bins must ascend: {list(edges_m)}")
    shown = [np.format_float_positional(edge, min_digits=2) for edge in edges]
    between = [f"{low}-{high} m" for low, high in pairwise(shown)]
    names = [f"< {shown[0]} m", *between, f">= {shown[-1]} m", UNKNOWN_GSD]
    sizes = np.asarray(gsd_m, np.float64)
    bins = np.searchsorted(edges, sizes * _NOMINAL, side="right")
    bins[np.isnan(sizes)] = len(edges) + 1
    return [names[index] for index in bins.tolist()]


def size_class(area_m2: ArrayLike) -> NDArray[np.int64]:
    """Give the size class of buildings, (n,) index into `SIZE_CLASSES_M2`, -1 where the area is NaN."""
    areas = np.asarray(area_m2, np.float64)
    edges = [size.low for size in SIZES_M2[1:]]
    classes = np.searchsorted(edges, areas, side="right").astype(np.int64)
    return np.where(np.isnan(areas), -1, classes)


def _first_text(values: dict[str, NDArray[np.generic]]) -> str | None:
    """Name the first column that holds text."""
    for name, column in values.items():
        if any(isinstance(value, str) for value in column.tolist()):
            return name
    return None


def _as_name(value: object) -> str:
    """Write a value as a name; whole numbers come as floats where a column has gaps."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NO_NAME
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
