"""Reading rasters: anything GDAL opens, in windows, with what is valid told apart from what is not."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as FloatWindow

from buildmap.errors import InputError, StorageError
from buildmap.raster.grid import Grid
from buildmap.raster.quiet import unreferenced_is_fine
from buildmap.raster.sniff import sniff
from buildmap.raster.windows import Window

_LARGEST_BLOCK_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What was read: numbers, and where they mean something."""

    pixels: NDArray[np.generic]
    """(bands, rows, cols) in the raster's own type."""
    valid: NDArray[np.bool_]
    """(rows, cols), True = has data."""


class RasterReader:
    """A raster opened for reading, on its own grid or resampled to a range of GSD.

    Every thread reads through a handle of its own. Use it as a context manager.
    """

    def __init__(
        self,
        path: Path,
        *,
        bands: tuple[int, ...] | None = None,
        gsd_range_m: tuple[float, float] | None = None,
    ) -> None:
        """Open and check a raster, before any work is done on it.

        Args:
            path: Any raster GDAL reads; a VRT only if its name says so.
            bands: 1-based bands to read, in this order; all but alpha when None.
            gsd_range_m: Finest and coarsest GSD in metres that `grid` may have; None keeps the raster's.

        Raises:
            MissingInput: If there is no such file.
            InputError: If it is not a raster, is truncated, or lacks a band.
        """
        self.path = path
        self._threads = threading.local()
        self._opened: list[tuple[threading.Thread, DatasetReader]] = []
        self._lock = threading.Lock()
        self._driver = sniff(path)
        dataset = self._dataset()
        _check_blocks(dataset, path)
        self.native_grid = Grid(
            width=dataset.width, height=dataset.height, transform=dataset.transform, crs=dataset.crs
        )
        if not abs(dataset.transform.determinant) > 0:
            raise InputError(f"{path} has pixels without area: {tuple(dataset.transform)[:6]}")
        self.grid = self.native_grid
        if gsd_range_m is not None:
            try:
                self.grid = self.native_grid.at_gsd(*gsd_range_m)
            except InputError as error:
                raise InputError(f"{path}: {error}", hint=error.hint) from error
        alpha = rasterio.enums.ColorInterp.alpha
        colors = [
            b for b, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True) if meaning != alpha
        ]
        self.bands = tuple(colors) if bands is None else bands
        if absent := [band for band in self.bands if band not in dataset.indexes]:
            raise InputError(
                f"{path} has {dataset.count} bands, not band {absent[0]}; asked for: {self.bands}",
                hint="choose others: `predict --bands 1,2,3`, or `bands` in a preset",
            )
        self.dtype = np.dtype(dataset.dtypes[self.bands[0] - 1])
        self.nodata = dataset.nodata
        self.scale = float(dataset.scales[self.bands[0] - 1])
        self.all_valid = self.dtype.kind != "f" and all(
            dataset.mask_flag_enums[band - 1] == [MaskFlags.all_valid] for band in self.bands
        )

    def __enter__(self) -> "RasterReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            for _, dataset in self._opened:
                dataset.close()
            self._opened.clear()

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`.

        Args:
            window: Inside `grid`.
            out_shape: Rows and columns to resample the window to; its own when None.

        Raises:
            StorageError: If the file cannot be read there.
        """
        rows, cols = out_shape or (window.height, window.width)
        across, down = self.native_grid.width / self.grid.width, self.native_grid.height / self.grid.height
        source = FloatWindow(
            window.col_off * across, window.row_off * down, window.width * across, window.height * down
        )
        shrinks = source.width >= cols and source.height >= rows
        exact = source.width == cols and source.height == rows
        resampling = Resampling.nearest if exact else Resampling.average if shrinks else Resampling.bilinear
        dataset = self._dataset()
        shape = (len(self.bands), rows, cols)
        try:
            pixels = dataset.read(self.bands, window=source, out_shape=shape, resampling=resampling)
            if self.all_valid:
                return Image(pixels=pixels, valid=np.ones((rows, cols), np.bool_))
            valid = dataset.dataset_mask(window=source, out_shape=(rows, cols)) > 0
        except RasterioIOError as error:
            raise StorageError(f"cannot read {self.path} at {window}: {error.__cause__ or error}") from error
        if self.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return Image(pixels=pixels, valid=valid)

    def _dataset(self) -> DatasetReader:
        dataset: DatasetReader | None = getattr(self._threads, "dataset", None)
        if dataset is None:
            try:
                with unreferenced_is_fine():
                    dataset = rasterio.open(self.path, driver=self._driver)
            except RasterioIOError as error:
                raise InputError(f"{self.path} cannot be read as a raster: {error}") from error
            self._threads.dataset = dataset
            with self._lock:
                self._close_handles_of_ended_threads()
                self._opened.append((threading.current_thread(), dataset))
        return dataset

    def _close_handles_of_ended_threads(self) -> None:
        """Keep the number of open files by the number of threads, however many pools come and go."""
        for thread, dataset in self._opened:
            if not thread.is_alive():
                dataset.close()
        self._opened = [opened for opened in self._opened if opened[0].is_alive()]


def _check_blocks(dataset: DatasetReader, path: Path) -> None:
    """Find absurd blocks and a truncated TIFF now, not hours later."""
    if dataset.count == 0:
        raise InputError(f"{path} has no raster bands")
    rows, cols = dataset.block_shapes[0]
    block_bytes = rows * cols * np.dtype(dataset.dtypes[0]).itemsize * dataset.count
    if block_bytes > _LARGEST_BLOCK_BYTES:
        raise InputError(
            f"{path} has blocks of {cols} x {rows} x {dataset.count}: {block_bytes / 2**30:.1f} GiB each",
            hint=f"gdal_translate -of COG '{path}' tiled.tif",
        )
    if dataset.driver != "GTiff" or not path.is_file():
        return
    size = path.stat().st_size
    for band in dataset.indexes if dataset.interleaving == "band" else [1]:
        for (row, col), _ in dataset.block_windows(band):
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            count = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
            if offset and count and int(offset) + int(count) > size:
                raise InputError(f"{path} is truncated: block ({row}, {col}) ends beyond its {size} bytes")
