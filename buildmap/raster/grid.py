"""A grid: how many pixels, where they lie, and how large they are on the ground."""

import math
from dataclasses import dataclass, replace

from affine import Affine
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from buildmap.errors import InputError
from buildmap.raster.windows import Window

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in CRS units."""

_WGS84 = Geod(ellps="WGS84")
_LARGEST_ZOOM = 100.0
"""How many times finer or coarser a raster may be made."""
_CLOSE = 0.01
"""Share by which a GSD may be off: resampling would blur more than it would mend."""
_SNAP_PX = 1e-6
"""A box that ends this close to a pixel's edge ends on it."""
_HINT = "the CRS or the transform is wrong: rio edit-info --crs EPSG:CODE RASTER"


def _whole_pixels(places: tuple[float, ...], extent: int) -> tuple[int, int]:
    """Give the first pixel and one past the last that some places lie in, inside an axis."""
    first, end = math.floor(min(places) + _SNAP_PX), math.ceil(max(places) - _SNAP_PX)
    return max(first, 0), min(end, extent)


def show_bounds(bounds: Bounds) -> str:
    """Write a box for a message."""
    return "(" + ", ".join(f"{value:.9g}" for value in bounds) + ")"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Shape, transform and CRS of a raster."""

    width: int
    """Columns."""
    height: int
    """Rows."""
    transform: Affine
    """Pixel corner (col, row) to coordinates (x, y); the identity where there is none."""
    crs: CRS | None
    """None where the raster does not say."""

    @property
    def window(self) -> Window:
        """The whole raster as a window."""
        return Window(col_off=0, row_off=0, width=self.width, height=self.height)

    @property
    def bounds(self) -> Bounds:
        """Smallest box around all pixels: left, bottom, right, top in CRS units, also where rotated."""
        corners = [self.transform @ (c, r) for c in (0, self.width) for r in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def is_placed(self) -> bool:
        """Whether the raster says where on the Earth it lies."""
        return self.crs is not None and not self.transform.is_identity

    def gsd_m(self) -> float | None:
        """Measure the side of a square as large as the pixel at the centre, in metres on the ground.

        Returns:
            None where the grid has no CRS or no transform.

        Raises:
            InputError: As `pixel_size_m`.
        """
        size = self.pixel_size_m()
        return None if size is None else math.sqrt(size[0] * size[1])

    def pixel_size_m(self) -> tuple[float, float] | None:
        """Measure one pixel at the centre along columns and rows, in metres on the ground (geodesic).

        Returns:
            (x, y) or None where the grid has no CRS or no transform.

        Raises:
            InputError: If the CRS has no relation to the Earth, or not there.
        """
        if not self.is_placed:
            return None
        try:
            to_geographic = Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True)
        except ProjError as error:
            raise InputError(f"{self.crs} has no known place on the Earth", hint=_HINT) from error
        col, row = self.width / 2, self.height / 2
        xs, ys = zip(
            *[self.transform @ end for end in [(col, row), (col + 1, row), (col, row + 1)]], strict=True
        )
        lon, lat = to_geographic.transform(xs, ys)
        _, _, across_m = _WGS84.inv(lon[0], lat[0], lon[1], lat[1])
        _, _, down_m = _WGS84.inv(lon[0], lat[0], lon[2], lat[2])
        if not (math.isfinite(across_m) and math.isfinite(down_m) and across_m * down_m > 0):
            raise InputError(
                f"pixels around ({xs[0]:.9g}, {ys[0]:.9g}) have no place in {self.crs}",
                hint=_HINT,
            )
        return float(across_m), float(down_m)

    def at_gsd(self, gsd_min_m: float, gsd_max_m: float) -> "Grid":
        """Give the grid of the same ground whose square pixels lie in a range of GSD.

        A grid already in the range, or beside it by less than 1 %, and square within 1 %, comes back as
        it is; one without a known GSD too.

        Raises:
            InputError: If the range is so far away that nothing of the raster would be left, or the centre
                lies outside the domain of the CRS.
        """
        size = self.pixel_size_m()
        if size is None:
            return self
        gsd_m = (size[0] * size[1]) ** 0.5
        wanted_m = min(max(gsd_m, gsd_min_m), gsd_max_m)
        if abs(wanted_m / gsd_m - 1) <= _CLOSE and abs(size[0] / size[1] - 1) <= _CLOSE:
            return self
        if not 1 / _LARGEST_ZOOM <= wanted_m / gsd_m <= _LARGEST_ZOOM:
            raise InputError(
                f"the GSD is {gsd_m:.3g} m, {gsd_min_m:g} to {gsd_max_m:g} m are wanted",
                hint="see that CRS and transform are right; predict takes --no-resample",
            )
        width = max(round(self.width * size[0] / wanted_m), 1)
        height = max(round(self.height * size[1] / wanted_m), 1)
        transform = self.transform @ Affine.scale(self.width / width, self.height / height)
        return replace(self, width=width, height=height, transform=transform)

    def scaled(self, scale: int) -> "Grid":
        """Give the grid of the same ground in pixels `scale` times smaller; no transform stays none."""
        transform = self.transform
        if not transform.is_identity:
            transform = transform @ Affine.scale(1 / scale)
        return replace(self, width=self.width * scale, height=self.height * scale, transform=transform)

    def part(self, window: Window) -> "Grid":
        """Give a window of this grid as a grid of its own."""
        transform = self.transform @ Affine.translation(window.col_off, window.row_off)
        return replace(self, width=window.width, height=window.height, transform=transform)

    def window_of(self, bbox: Bounds) -> Window:
        """Find the smallest window of whole pixels that covers a box, as far as the grid reaches.

        Args:
            bbox: In the grid's CRS.

        Raises:
            InputError: If the box is empty, or does not touch the grid.
        """
        left, bottom, right, top = bbox
        if not (left < right and bottom < top):
            raise InputError(
                f"the box {show_bounds(bbox)} is empty",
                hint="left, bottom, right, top in the CRS of the raster",
            )
        window = self.window_over(bbox)
        if window is None:
            raise InputError(
                f"the box does not touch the raster: extents {show_bounds(bbox)} "
                f"and {show_bounds(self.bounds)}",
                hint=f"left, bottom, right, top in the raster's CRS, {self.crs}",
            )
        return window

    def window_over(self, bounds: Bounds) -> Window | None:
        """Give the smallest window that covers a box in the grid's CRS, or None if they do not meet."""
        if not all(map(math.isfinite, bounds)):
            return None
        left, bottom, right, top = bounds
        corners = [~self.transform @ (x, y) for x in (left, right) for y in (bottom, top)]
        cols, rows = zip(*corners, strict=True)
        first_col, end_col = _whole_pixels(cols, self.width)
        first_row, end_row = _whole_pixels(rows, self.height)
        if first_col >= end_col or first_row >= end_row:
            return None
        return Window(
            col_off=first_col, row_off=first_row, width=end_col - first_col, height=end_row - first_row
        )
