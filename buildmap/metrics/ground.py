"""Which ground counts: the pixels of one grid, or those inside an area of interest and a box."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from buildmap.errors import InputError
from buildmap.raster.burn import FootprintIndex
from buildmap.raster.grid import Grid, show_bounds
from buildmap.raster.windows import Window
from buildmap.vector.reader import FootprintRows, read_footprints, read_in_batches

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in CRS units."""

_RIM_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is compared, and on which pixels."""

    grid: Grid
    """Pixels on which both sides are seen."""
    window: Window
    """Of the grid: everything that counts, and where there are regions a rim, so that no building on
    their border is cut."""
    regions: FootprintIndex | None
    """Polygons in the CRS of the grid; None where the whole window counts."""

    @property
    def bounds(self) -> Box:
        """Box around the window in the CRS of the grid."""
        return self.grid.part(self.window).bounds

    def transform(self, window: Window) -> Affine:
        """Place a window of the grid."""
        return self.grid.part(window).transform

    def counts(self, window: Window) -> NDArray[np.bool_]:
        """Tell which pixels of a window of the grid count, (rows, cols)."""
        if self.regions is None:
            return np.ones((window.height, window.width), np.bool_)
        return self.regions.burn(transform=self.transform(window), height=window.height, width=window.width)


def ground_on(grid: Grid, *, within: Window, aoi: Path | None, bbox: Box | None) -> Ground:
    """Restrict a grid to an area of interest and a box in the CRS of the grid.

    Args:
        grid: Pixels to compare on.
        within: The part of it that is covered.
        aoi: Layer of polygons.
        bbox: Left, bottom, right, top.

    Raises:
        InputError: If nothing is left.
    """
    if aoi is None and bbox is None:
        return Ground(grid=grid, window=within, regions=None)
    regions = _regions(grid, aoi, bbox)
    window = grid.window_over(_box_of(regions))
    window = (
        None
        if window is None
        else _shared(window.grow(_RIM_PX, width=grid.width, height=grid.height), within)
    )
    if window is None:
        name = " within ".join(str(part) for part in (aoi, None if bbox is None else "--bbox") if part)
        raise InputError(
            f"{name} does not touch the ground that is compared: extents "
            f"{show_bounds(_box_of(regions))} and {show_bounds(grid.part(within).bounds)}",
            hint=None if bbox is None else "--bbox is in the CRS of the raster; between two layers, in UTM",
        )
    return Ground(grid=grid, window=window, regions=FootprintIndex(regions))


def layer_on(
    grid: Grid, layer: Path, *, bounds: Box | None = None, columns: Sequence[str] = ()
) -> Iterator[FootprintRows]:
    """Read the polygons of a layer in the CRS of a grid, batch by batch.

    Args:
        grid: What the layer is compared with.
        layer: Vector file.
        bounds: Only polygons whose boxes touch this one.
        columns: Attributes to read as well.

    Raises:
        InputError: If only one of the two has a CRS, or the layer cannot be read.
    """
    for batch in read_in_batches(layer, crs=grid.crs, bbox=bounds, columns=columns):
        if grid.crs is None and batch.crs is not None:
            raise InputError(
                f"{layer} is in {batch.crs.name}, what it is compared with has no CRS",
                hint="rio edit-info --crs EPSG:CODE RASTER",
            )
        yield batch


def grid_over_layers(layers: list[Path], *, gsd_m: float) -> Grid:
    """Lay a grid in UTM over the first of some layers that is not empty; without a CRS, over its own units.

    Args:
        layers: Vector files, the one that says most about the ground first.
        gsd_m: Side of a pixel in metres.
    """
    crs, bounds = None, None
    for layer in layers:
        footprints = read_footprints(layer, crs=None)
        crs = footprints.crs
        if len(footprints.polygons):
            utm = None if crs is None else utm_crs(crs, _box_of(footprints.polygons))
            bounds = _box_of(footprints.polygons if utm is None else read_footprints(layer, crs=utm).polygons)
            return _grid_over(bounds, utm, gsd_m)
    return _grid_over((0, 0, 0, 0), None if crs is None else utm_crs(crs, (0, 0, 0, 0)), gsd_m)


def utm_crs(crs: CRS, bounds: Box) -> CRS:
    """Choose the UTM zone in which the middle of a box lies."""
    to_geographic = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_geographic.transform((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise InputError(f"the box {show_bounds(bounds)} lies outside the domain of {crs.name}")
    zone = int((lon + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def meets(one: Box, other: Box) -> bool:
    """Tell whether two boxes share a point."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _regions(grid: Grid, aoi: Path | None, bbox: Box | None) -> NDArray[np.object_]:
    """Give the polygons of the area of interest, cut to the box, in the CRS of the grid."""
    box = None if bbox is None else shapely.box(*bbox)
    if aoi is None:
        return np.array([box], dtype=object)
    polygons = np.concatenate([batch.polygons for batch in layer_on(grid, aoi)])
    if len(polygons) == 0:
        raise InputError(f"{aoi} holds no polygons, so no ground would count")
    parts = polygons if box is None else shapely.get_parts(shapely.intersection(polygons, box))
    parts = parts[shapely.area(parts) > 0]
    if len(parts) == 0:
        raise InputError(
            f"{aoi} has no ground in the box that is asked for: extents "
            f"{show_bounds(_box_of(polygons))} and {show_bounds(bbox or _box_of(polygons))}"
        )
    return np.asarray(parts)


def _box_of(polygons: NDArray[np.object_]) -> Box:
    """Give the box around polygons; NaN around none."""
    if len(polygons) == 0:
        return math.nan, math.nan, math.nan, math.nan
    left, bottom, right, top = shapely.total_bounds(polygons).tolist()
    return left, bottom, right, top


def _grid_over(bounds: Box, crs: CRS | None, gsd_m: float) -> Grid:
    left, bottom, right, top = bounds
    col, row = math.floor(left / gsd_m), math.ceil(top / gsd_m)
    return Grid(
        width=max(math.ceil(right / gsd_m) - col, 1),
        height=max(row - math.floor(bottom / gsd_m), 1),
        transform=Affine(gsd_m, 0, col * gsd_m, 0, -gsd_m, row * gsd_m),
        crs=None if crs is None else rasterio.CRS.from_user_input(crs),
    )


def _shared(one: Window, other: Window) -> Window | None:
    left, top = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    right = min(one.col_off + one.width, other.col_off + other.width)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    if left >= right or top >= bottom:
        return None
    return Window(col_off=left, row_off=top, width=right - left, height=bottom - top)
