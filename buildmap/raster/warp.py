"""Reading a raster on the grid of another, so that the two can be compared pixel by pixel."""

from pathlib import Path

import numpy as np
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as FloatWindow

from buildmap.errors import InputError, StorageError
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.handles import Handles
from buildmap.raster.reader import Image
from buildmap.raster.remote import gdal_name
from buildmap.raster.sniff import sniff
from buildmap.raster.windows import Window

_SAME_PX = 1e-3


class WarpedReader:
    """A raster read on a foreign grid: every pixel takes the value found at its centre.

    Read from one thread at a time; close it.
    """

    def __init__(self, path: Path, grid: Grid, *, bands: tuple[int, ...]) -> None:
        """Open a raster that `RasterReader` has opened before, and so has checked.

        Args:
            path: The raster; it has a CRS and a transform.
            grid: With a CRS; where it reaches beyond the raster, nothing is valid.
            bands: 1-based, in the order in which to read them.
        """
        self._path = path
        self._bands = list(bands)
        name = gdal_name(path)
        self._handles = Handles(name, title=str(path), driver=sniff(name))
        source = self._handles.get()
        adds_alpha = source.nodata is None and ColorInterp.alpha not in source.colorinterp
        self._warped = WarpedVRT(
            source,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            resampling=Resampling.nearest,
            tolerance=1e-6,  # pixels: a coarser approximation would differ with the window
            add_alpha=adds_alpha,
        )
        self._alpha = self._warped.count if adds_alpha else None

    def close(self) -> None:
        """Close both handles."""
        self._warped.close()
        self._handles.close()

    def read(self, window: Window) -> Image:
        """Read one window of the grid, (bands, rows, cols).

        Raises:
            StorageError: If the file cannot be read there.
        """
        source = FloatWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            pixels = self._warped.read(self._bands, window=source)
            if self._alpha is None:
                valid = self._warped.dataset_mask(window=source) > 0
            else:  # of which GDAL makes a mask for uint8 only
                valid = self._warped.read(self._alpha, window=source) > 0
        except RasterioIOError as error:
            raise StorageError(f"cannot read {self._path} at {window}: {error.__cause__ or error}") from error
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return Image(pixels=pixels, valid=valid)


def is_same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two grids have the same pixels, to a thousandth of one."""
    if (one.width, one.height, one.crs) != (other.width, other.height, other.crs):
        return False
    to_pixel = ~one.transform @ other.transform
    corners = [(0, 0), (one.width, 0), (0, one.height), (one.width, one.height)]
    moved = np.array([to_pixel @ corner for corner in corners])
    return bool(np.abs(moved - corners).max() <= _SAME_PX)


def bounds_on(grid: Grid, other: Grid) -> Bounds:
    """Give the box of `other` in the CRS of `grid`: left, bottom, right, top.

    Raises:
        InputError: If one cannot be placed on the other.
    """
    if grid.crs == other.crs:
        return other.bounds
    to_grid = Transformer.from_crs(other.crs, grid.crs, always_xy=True)
    left, bottom, right, top = to_grid.transform_bounds(*other.bounds, densify_pts=21)
    if not np.isfinite([left, bottom, right, top]).all() or left > right:
        raise InputError(f"the ground of a raster in {other.crs} has no place in {grid.crs}")
    return left, bottom, right, top
