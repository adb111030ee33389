"""Reading an xarray.DataArray like a raster: only the chunks under a window are computed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from buildmap.errors import InputError, ResourceError, StorageError
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.placement import Placement, place
from buildmap.raster.reader import Image
from buildmap.raster.resample import Axis, Pixels, resample_parts
from buildmap.raster.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from xarray import DataArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that is known of an array before a pixel of it is computed; small enough to travel."""

    name: str
    """What to call it in messages."""
    placement: Placement
    """The working grid on it."""
    count: int
    """Bands it has."""
    bands: tuple[int, ...]
    """1-based bands to read, in this order."""
    dtype: np.dtype[np.generic]
    """Type of its pixels."""
    nodata: float | None
    """A pixel that has this value in every band is invalid."""

    @property
    def fetched(self) -> tuple[int, ...]:
        """1-based bands that are needed, in this order: those to read, or all, to know what is valid."""
        return self.bands if self.nodata is None else tuple(range(1, self.count + 1))

    @property
    def all_valid(self) -> bool:
        """No pixel can be invalid."""
        return self.nodata is None and self.dtype.kind != "f"

    def under(self, window: Window) -> Window:
        """Give the array's own pixels that a window of the working grid is made from."""
        native = self.placement.native
        rows, cols = self.placement.axes(window, (window.height, window.width), (native.height, native.width))
        return Window(
            col_off=cols.start,
            row_off=rows.start,
            width=cols.stop - cols.start,
            height=rows.stop - rows.start,
        )


def lay_out(
    array: "DataArray",
    *,
    bands: tuple[int, ...] | None = None,
    gsd_range_m: tuple[float, float] | None = None,
    bbox: Bounds | None = None,
    align_px: int = 1,
) -> tuple[Layout, "DataArray"]:
    """Look an array up, whose CRS, transform and nodata rioxarray knows; nothing is computed.

    Args:
        array: (y, x) or (bands, y, x), its dimensions named so, or as rioxarray has been told.
        bands: 1-based, in the order of reading; all when None.
        gsd_range_m: Finest and coarsest GSD in metres that the working grid may have; None keeps the array's.
        bbox: Left, bottom, right, top in the array's CRS: the grid is cut to the pixels that touch it.
        align_px: With `bbox`, the grid begins at a multiple of so many pixels, a little before the box.

    Returns:
        What is known of it, and the array as (bands, y, x).

    Raises:
        ResourceError: If rioxarray is not installed.
        InputError: If the array has other dimensions, lacks a band, or does not touch `bbox`.
    """
    try:
        from rioxarray import exceptions  # noqa: PLC0415 (an extra; it gives arrays `.rio`)
    except ImportError as error:
        raise ResourceError(
            "reading a DataArray needs rioxarray", hint="pip install 'buildmap[xarray]'"
        ) from error
    name = str(array.name or "DataArray")
    try:
        ordered, native = _in_order(array, name)
        nodata = ordered.rio.nodata
    except exceptions.RioXarrayError as error:
        raise InputError(f"{name} has no place for rioxarray: {error}") from error
    count = int(ordered.shape[0])
    chosen = tuple(range(1, count + 1)) if bands is None else bands
    if absent := [band for band in chosen if not 1 <= band <= count]:
        raise InputError(f"{name} has {count} bands, not band {absent[0]}; asked for: {chosen}")
    layout = Layout(
        name=name,
        placement=place(native, gsd_range_m=gsd_range_m, bbox=bbox, name=name, align_px=align_px),
        count=count,
        bands=chosen,
        dtype=ordered.dtype,
        nodata=None if nodata is None else float(nodata),
    )
    return layout, ordered


class ArrayReader:
    """Reads the working grid from the pixels of an array, or from those of a part of it.

    It is read from any thread at once; dask computes each window by itself.
    """

    def __init__(
        self, layout: Layout, pixels: "DataArray | NDArray[np.generic]", part: Window | None = None
    ) -> None:
        """Take an array.

        Args:
            layout: Of the whole array.
            pixels: (bands, rows, cols): the bands `fetched` of the layout, of all pixels or of a part.
            part: Which pixels these are; all when None. No window may need others.
        """
        self.name, self.bands, self.dtype = layout.name, layout.bands, layout.dtype
        self.grid, self.native_grid = layout.placement.grid, layout.placement.native_grid
        self.date: str | None = None
        self._layout, self._pixels = layout, pixels
        self._part = layout.placement.native.window if part is None else part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the array open: it is the caller's."""

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`, as `RasterReader.read` does.

        Raises:
            StorageError: If the array's file cannot be read there.
        """
        shape = out_shape or (window.height, window.width)
        placement = self._layout.placement
        rows, cols = placement.axes(window, shape, (placement.native.height, placement.native.width))
        try:
            pixels, valid = resample_parts(self._fetch, rows, cols)
        except OSError as error:
            raise StorageError(f"cannot read {self.name} at {window}: {error}") from error
        return Image(pixels=pixels, valid=np.ones(shape, np.bool_) if valid is None else valid)

    def has_data(self, window: Window) -> bool:  # noqa: ARG002 (nothing is known without computing)
        """Give True: nothing is known without computing."""
        return True

    def _fetch(self, rows: Axis, cols: Axis) -> tuple[Pixels, "NDArray[np.bool_] | None"]:
        layout, top, left = self._layout, self._part.row_off, self._part.col_off
        part = self._pixels[:, rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
        fetched = np.asarray(part)
        pixels = fetched
        if layout.fetched != layout.bands:
            pixels = fetched[[band - 1 for band in layout.bands]]
        if layout.all_valid:
            return pixels, None
        valid = np.ones(pixels.shape[1:], np.bool_)
        if layout.nodata is not None and not np.isnan(layout.nodata):
            valid = (fetched != layout.nodata).any(axis=0)  # as GDAL: invalid where every band is nodata
        if layout.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return pixels, valid


def _in_order(array: "DataArray", name: str) -> tuple["DataArray", Grid]:
    """Give (bands, y, x), and the grid they lie on."""
    down, across = array.rio.y_dim, array.rio.x_dim
    others = [dimension for dimension in array.dims if dimension not in {down, across}]
    if len(others) > 1:
        raise InputError(
            f"{name} has the dimensions {array.dims}, not bands, {down} and {across}",
            hint=f"choose one: array.isel({others[0]}=0)",
        )
    ordered = array.expand_dims("band") if not others else array.transpose(others[0], down, across)
    spatial = ordered.rio.set_spatial_dims(x_dim=across, y_dim=down).rio  # a new array does not know
    grid = Grid(width=spatial.width, height=spatial.height, transform=spatial.transform(), crs=spatial.crs)
    return ordered, grid
