"""Reading rasters: anything GDAL opens, in windows, with what is valid told apart from what is not."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as FloatWindow

from buildmap.errors import InputError, StorageError
from buildmap.raster.coverage import survey
from buildmap.raster.dates import taken_on
from buildmap.raster.grid import Bounds, Grid
from buildmap.raster.handles import Handles
from buildmap.raster.overviews import Level, Overviews
from buildmap.raster.placement import Shape, place
from buildmap.raster.remote import gdal_name, settings
from buildmap.raster.resample import Axis, resample_parts
from buildmap.raster.sniff import sniff
from buildmap.raster.windows import Window

_OVERVIEW_REACH_PX = 4
"""Pixels of an overview beside which its resampling may have spread data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What was read: numbers, and where they mean something."""

    pixels: NDArray[np.generic]
    """(bands, rows, cols) in the raster's own type."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data."""


class Reader(Protocol):
    """What predicting needs of a raster, wherever it lies."""

    name: str
    """What to call it in messages."""
    grid: Grid
    """The working grid, that windows refer to."""
    native_grid: Grid
    """The raster's own grid, or the part of it that `grid` lies on."""
    bands: tuple[int, ...]
    """1-based bands that are read, in this order."""
    dtype: np.dtype[np.generic]
    """Type of the pixels."""
    date: str | None
    """When the imagery was taken, YYYY-MM-DD, as far as it says."""

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`; from any thread."""

    def has_data(self, window: Window) -> bool:
        """Give False only where it is known, without reading, that no pixel of a window is valid."""

    def close(self) -> None:
        """Close what is open."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class RasterReader:
    """A raster opened for reading, on its own grid or resampled to a range of GSD.

    A pixel's value does not depend on the window it is read through. Every thread reads through a
    handle of its own. Use it as a context manager.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        bands: tuple[int, ...] | None = None,
        gsd_range_m: tuple[float, float] | None = None,
        bbox: Bounds | None = None,
        align_px: int = 1,
        title: str | None = None,
    ) -> None:
        """Open and check a raster, before any work is done on it.

        Args:
            name: Any raster GDAL reads, its URL, or the text of a VRT; a VRT file only if its name says so.
            bands: 1-based bands to read, in this order; all but alpha when None.
            gsd_range_m: Finest and coarsest GSD in metres that `grid` may have; None keeps the raster's.
            bbox: Left, bottom, right, top in the raster's CRS: `grid` is cut to the pixels that touch it.
            align_px: With `bbox`, `grid` begins at a multiple of so many pixels, a little before the box.
            title: What to call it in messages; its name when None.

        Raises:
            MissingInput: If there is no such file.
            InputError: If it is not a raster, is truncated, lacks a band, or does not touch `bbox`.
        """
        self.name = title or str(name)
        self.path = Path(self.name)
        gdal = gdal_name(name)
        self._handles = Handles(gdal, title=self.name, driver=sniff(gdal))
        dataset = self._handles.get()
        try:
            with settings(remote=self._handles.remote):
                self._coverage = survey(dataset, self.name)
            native = Grid(
                width=dataset.width, height=dataset.height, transform=dataset.transform, crs=dataset.crs
            )
            self._choose_bands(dataset, bands)
            self.date = taken_on(dataset)
        except (RasterioError, CPLE_BaseError) as error:
            self.close()
            raise InputError(f"{self.name} cannot be read as a raster: {error}") from error
        self._placement = place(native, gsd_range_m=gsd_range_m, bbox=bbox, name=self.name, align_px=align_px)
        self.grid, self.native_grid = self._placement.grid, self._placement.native_grid
        self._overviews = Overviews(self._handles)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the handles of all threads."""
        self._handles.close()

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`.

        Args:
            window: Inside `grid`.
            out_shape: Rows and columns to resample the window to; its own when None.

        Raises:
            StorageError: If the file cannot be read there.
        """
        shape = out_shape or (window.height, window.width)
        level = self._level(window, shape)
        rows, cols = self._placement.axes(window, shape, (level.height, level.width))
        with settings(remote=self._handles.remote):
            dataset = self._handles.get(level.overview)
            try:
                pixels, valid = resample_parts(partial(self._fetch, dataset), rows, cols)
            except (RasterioIOError, CPLE_BaseError) as error:
                raise StorageError(
                    f"cannot read {self.name} at {window}: {error.__cause__ or error}"
                ) from error
        return Image(pixels=pixels, valid=np.ones(shape, np.bool_) if valid is None else valid)

    def has_data(self, window: Window) -> bool:
        """Give False only where it is known, without reading pixels, that none of a window is valid."""
        if self._coverage is None:
            return True
        level = self._level(window, (window.height, window.width))
        reach_px = 1 if level.overview is None else _OVERVIEW_REACH_PX
        return self._coverage.touches(*self._placement.box(window, (level.height, level.width), reach_px))

    def _choose_bands(self, dataset: DatasetReader, bands: tuple[int, ...] | None) -> None:
        colors = [
            band
            for band, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True)
            if meaning != ColorInterp.alpha
        ]
        self.bands = tuple(colors) if bands is None else bands
        if absent := [band for band in self.bands if band not in dataset.indexes]:
            raise InputError(
                f"{self.name} has {dataset.count} bands, not band {absent[0]}; asked for: {self.bands}",
                hint="choose others: `predict --bands 1,2,3`, or `bands` in a preset",
            )
        self.dtype = np.dtype(dataset.dtypes[self.bands[0] - 1])
        self.nodata = dataset.nodata
        self.scale = float(dataset.scales[self.bands[0] - 1])
        self.all_valid = self.dtype.kind != "f" and all(
            dataset.mask_flag_enums[band - 1] == [MaskFlags.all_valid] for band in self.bands
        )
        self._says_so_itself = (
            dataset.count == 1
            and self.dtype.kind in "iu"
            and dataset.mask_flag_enums[0] == [MaskFlags.nodata]
        )

    def _level(self, window: Window, shape: Shape) -> Level:
        """Choose what a window is read from."""
        width, height = self._placement.size(window, shape)
        return self._overviews.choose(width=width, height=height)

    def _fetch(
        self, dataset: DatasetReader, rows: Axis, cols: Axis
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
        """Read the source pixels that two axes need, as they are."""
        source = FloatWindow(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        pixels = dataset.read(self.bands, window=source)
        if self.all_valid:
            return pixels, None
        if self._says_so_itself:  # GDAL's mask would take another look at the file
            return pixels, pixels[0] != self.nodata
        valid = dataset.dataset_mask(window=source) > 0
        if self.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return pixels, valid
