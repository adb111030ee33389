"""Writing rasters from top to bottom, as a Cloud Optimized GeoTIFF that is known to be whole."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.shutil import copy
from rasterio.windows import Window

from buildmap.errors import StorageError
from buildmap.raster.grid import Grid
from buildmap.raster.quiet import unreferenced_is_fine

BLOCK_PX = 512
"""Side of an internal tile, and the rows that are compressed at a time."""
PROBABILITY_STEPS = 254
"""uint8 value that stands for probability one."""
NODATA = 255
"""uint8 value of a pixel without data."""


def encode_probability(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Store probability 0..1 as 0..254 and NaN as 255."""
    steps = np.rint(np.clip(probability, 0, 1) * PROBABILITY_STEPS)
    return np.where(np.isnan(probability), NODATA, steps).astype(np.uint8)


class RasterWriter:
    """Takes rows in order, in any portions, and leaves one uint8 band at `path` after `finish`.

    Rows go to a plain tiled TIFF first; `finish` copies it into a COG with overviews and reads
    every block back, since GDAL can lose blocks on a full disk without saying so.
    """

    def __init__(self, path: Path, grid: Grid, *, tags: dict[str, str]) -> None:
        """Create the plain TIFF beside `path`.

        Args:
            path: The COG to be, in a folder of our own.
            grid: Of the whole raster.
            tags: Stored in the file's metadata.

        Raises:
            StorageError: If it cannot be written.
        """
        self.path, self._grid = path, grid
        self._plain = path.with_name("rows.tif")
        self._rows = np.zeros((0, grid.width), np.uint8)
        self._written = 0
        self._checksum = 0
        try:
            with unreferenced_is_fine():
                self._dataset = rasterio.open(
                    self._plain,
                    "w",
                    driver="GTiff",
                    width=grid.width,
                    height=grid.height,
                    count=1,
                    dtype="uint8",
                    crs=grid.crs,
                    transform=grid.transform,
                    nodata=NODATA,
                    tiled=True,
                    blockxsize=BLOCK_PX,
                    blockysize=BLOCK_PX,
                    compress="zstd",
                    zstd_level=1,
                    bigtiff="if_safer",
                )
        except RasterioIOError as error:
            raise _failure(self._plain, error) from error
        self._dataset.scales = (1 / PROBABILITY_STEPS,)
        self._dataset.update_tags(**tags)
        self._dataset.set_band_description(1, "building probability")

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Add the next rows, (rows, width).

        Raises:
            StorageError: If the disk refuses them.
        """
        self._rows = np.concatenate([self._rows, rows])
        last = self._written + len(self._rows) == self._grid.height
        while len(self._rows) >= BLOCK_PX or (last and len(self._rows)):
            band, self._rows = self._rows[:BLOCK_PX], self._rows[BLOCK_PX:]
            try:
                self._dataset.write(band, 1, window=Window(0, self._written, self._grid.width, len(band)))
            except RasterioIOError as error:
                raise _failure(self._plain, error) from error
            self._checksum = zlib.crc32(band.tobytes(), self._checksum)
            self._written += len(band)

    def finish(self) -> None:
        """Assemble the COG and verify it.

        Raises:
            StorageError: If it cannot be written, or does not read back as it was written.
            ValueError: If rows are missing.
        """
        self._dataset.close()
        if self._written != self._grid.height:
            raise ValueError(f"{self._written} rows written of {self._grid.height}")
        try:
            with unreferenced_is_fine():
                copy(
                    self._plain,
                    self.path,
                    driver="COG",
                    compress="zstd",
                    level=1,
                    blocksize=BLOCK_PX,
                    overview_resampling="average",
                    bigtiff="if_safer",
                )
            same = checksum(self.path) == self._checksum
        except RasterioError as error:
            raise _failure(self.path, error) from error
        if not same:
            raise StorageError(f"{self.path} does not read back as written", hint="is the disk full?")
        self._plain.unlink()

    def close(self) -> None:
        """Let go of an unfinished file."""
        self._dataset.close()


def checksum(path: Path) -> int:
    """Give the CRC-32 of a one-band raster's values, row by row."""
    value = 0
    with unreferenced_is_fine():
        dataset = rasterio.open(path)
    with dataset:
        for row in range(0, dataset.height, BLOCK_PX):
            height = min(BLOCK_PX, dataset.height - row)
            value = zlib.crc32(dataset.read(1, window=Window(0, row, dataset.width, height)), value)
    return value


def _failure(path: Path, error: RasterioError) -> StorageError:
    free_mb = shutil.disk_usage(path.parent).free // 2**20
    return StorageError(
        f"cannot write {path}: {error.__cause__ or error}", hint=f"{free_mb} MB are free there"
    )
