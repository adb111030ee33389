"""Reading an xarray.DataArray like a raster: only the chunks under a window are computed."""

from typing import TYPE_CHECKING, Self

import numpy as np

from buildmap.errors import InputError, ResourceError, StorageError
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.placement import place
from buildmap.raster.reader import Image
from buildmap.raster.resample import Axis, Pixels, resample_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray

    from buildmap.raster.windows import Window


class DataArrayReader:
    """A DataArray with one or two dimensions in space, and before them one of bands or none.

    It is read from any thread at once; dask computes each window by itself.
    """

    def __init__(
        self,
        array: "DataArray",
        *,
        bands: tuple[int, ...] | None = None,
        gsd_range_m: tuple[float, float] | None = None,
        bbox: Bounds | None = None,
    ) -> None:
        """Take an array, whose CRS, transform and nodata rioxarray knows.

        Args:
            array: (y, x) or (bands, y, x), its dimensions named so, or as rioxarray has been told.
            bands: 1-based, in the order of reading; all when None.
            gsd_range_m: Finest and coarsest GSD in metres that `grid` may have; None keeps the array's.
            bbox: Left, bottom, right, top in the array's CRS: `grid` is cut to the pixels that touch it.

        Raises:
            ResourceError: If rioxarray is not installed.
            InputError: If the array has other dimensions, lacks a band, or does not touch `bbox`.
        """
        try:
            import rioxarray  # noqa: F401, PLC0415 (an extra; it gives arrays `.rio`)
        except ImportError as error:
            raise ResourceError(
                "reading a DataArray needs rioxarray", hint="pip install 'buildmap[xarray]'"
            ) from error
        self.name = str(array.name or "DataArray")
        self._array, count = _in_order(array, self.name)
        self.bands = tuple(range(1, count + 1)) if bands is None else bands
        if absent := [band for band in self.bands if not 1 <= band <= count]:
            raise InputError(f"{self.name} has {count} bands, not band {absent[0]}; asked for: {self.bands}")
        spatial = self._array.rio
        native = Grid(
            width=spatial.width, height=spatial.height, transform=spatial.transform(), crs=spatial.crs
        )
        self._placement = place(native, gsd_range_m=gsd_range_m, bbox=bbox, name=self.name)
        self.grid, self.native_grid = self._placement.grid, self._placement.native_grid
        self.dtype = self._array.dtype
        self.date: str | None = None
        self.nodata = None if spatial.nodata is None else float(spatial.nodata)
        self.all_valid = self.nodata is None and self.dtype.kind != "f"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the array open: it is the caller's."""

    def read(self, window: "Window", *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`, as `RasterReader.read` does.

        Raises:
            StorageError: If the array's file cannot be read there.
        """
        shape = out_shape or (window.height, window.width)
        native = self._placement.native
        rows, cols = self._placement.axes(window, shape, (native.height, native.width))
        try:
            pixels, valid = resample_parts(self._fetch, rows, cols)
        except OSError as error:
            raise StorageError(f"cannot read {self.name} at {window}: {error}") from error
        return Image(pixels=pixels, valid=np.ones(shape, np.bool_) if valid is None else valid)

    def has_data(self, window: "Window") -> bool:  # noqa: ARG002 (nothing is known without computing)
        """Give True: nothing is known without computing."""
        return True

    def _fetch(self, rows: Axis, cols: Axis) -> tuple[Pixels, "NDArray[np.bool_] | None"]:
        chosen = [band - 1 for band in self.bands]
        part = self._array[:, rows.start : rows.stop, cols.start : cols.stop]
        pixels = np.asarray(part.isel({part.dims[0]: chosen}).data)
        if self.all_valid:
            return pixels, None
        valid = np.ones(pixels.shape[1:], np.bool_)
        if self.nodata is not None and not np.isnan(self.nodata):
            valid = (pixels != self.nodata).any(axis=0)  # as GDAL: invalid where every band is nodata
        if self.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return pixels, valid


def _in_order(array: "DataArray", name: str) -> tuple["DataArray", int]:
    """Give (bands, y, x) and the number of bands."""
    spatial = (array.rio.y_dim, array.rio.x_dim)
    others = [dimension for dimension in array.dims if dimension not in spatial]
    if len(others) > 1:
        raise InputError(
            f"{name} has the dimensions {array.dims}, not bands, {spatial[0]} and {spatial[1]}",
            hint=f"choose one: array.isel({others[0]}=0)",
        )
    ordered = array.expand_dims("band") if not others else array.transpose(others[0], *spatial)
    return ordered, int(ordered.shape[0])
