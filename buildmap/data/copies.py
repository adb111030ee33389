"""Copies of what chips are read from, in memory: decoding and averaging again for every chip is too slow.

A copy is an uncompressed GeoTIFF in GDAL's memory files, in square blocks, at the working grid and no larger
than the annotated ground, so that reading it goes the same way as reading a file.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.windows import Window as FloatWindow

from buildmap.data.annotations import MaskTruth, Truth
from buildmap.data.outlines import Buildings, trace_buildings
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image, RasterReader
from buildmap.raster.windows import Window, plan_windows

_BLOCK_PX = 256
_PART_PX = 1024
_COVER_STEPS, _HALF_COVER = 255, 128
_NOT_IDENTITY = Affine.translation(1, 0)  # GDAL takes the identity for no transform, and rasterio warns of it


class Pixels(Protocol):
    """Reads windows of a source's working grid."""

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read a window, resampled to `out_shape` rows and columns."""

    def close(self) -> None:
        """Let go of files and memory."""


class Copyable(Pixels, Protocol):
    """What a copy is made of."""

    @property
    def grid(self) -> Grid:
        """The working grid."""

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based bands that are read, in this order."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""

    @property
    def all_valid(self) -> bool:
        """True where there can be no gaps."""


class MemoryRaster:
    """Part of a working grid, in memory."""

    def __init__(self, file: MemoryFile, *, ground: Window, bands: int) -> None:
        """Open a written file.

        Args:
            file: Holds a GeoTIFF of the ground's size; closed with this.
            ground: The part of the working grid that it holds.
            bands: Number of bands.
        """
        self.path = Path(file.name)
        self._file = file
        self._ground = ground
        self._reader = RasterReader(self.path, bands=tuple(range(1, bands + 1)))

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read a window of the working grid, inside the ground.

        Raises:
            StorageError: As `RasterReader.read`.
        """
        local = replace(
            window,
            col_off=window.col_off - self._ground.col_off,
            row_off=window.row_off - self._ground.row_off,
        )
        return self._reader.read(local, out_shape=out_shape)

    def close(self) -> None:
        """Free the memory."""
        self._reader.close()
        self._file.close()


class MemoryMask:
    """A mask raster's truth, in memory."""

    def __init__(self, raster: MemoryRaster, *, scale: int = 1) -> None:
        """Take a raster of the share of building, 0..255, valid where known.

        Args:
            raster: Closed with this.
            scale: Its pixels per pixel of the working grid, along one axis.
        """
        self._raster, self._scale = raster, scale

    def draw(self, window: Window, *, out_shape: tuple[int, int]) -> Truth:
        share = self._raster.read(window.scaled(self._scale), out_shape=out_shape)
        return Truth(building=share.pixels[0] >= _HALF_COVER, known=share.valid)

    def outline(self, window: Window, building: NDArray[np.bool_]) -> Buildings:  # noqa: ARG002
        """Give the pieces of what was drawn."""
        return trace_buildings(building)

    def close(self) -> None:
        """Free the memory."""
        self._raster.close()


def image_bytes(reader: Copyable, ground: Window) -> int:
    """Give the memory that a copy takes: pixels and mask."""
    pixel_bytes = len(reader.bands) * reader.dtype.itemsize + (not reader.all_valid)
    return int(ground.width * ground.height * pixel_bytes)


def mask_bytes(ground: Window, *, scale: int = 1) -> int:
    """Give the memory that a copy of a mask raster takes."""
    return 2 * ground.width * ground.height * scale**2


def copy_image(reader: Copyable, ground: Window) -> MemoryRaster:
    """Copy part of the working grid of a raster.

    Raises:
        StorageError: If the raster cannot be read.
    """
    file, bands = MemoryFile(ext=".tif"), len(reader.bands)
    with _create(file, reader.grid, ground, bands=bands, dtype=reader.dtype) as dataset:
        for part, place in _parts(ground):
            image = reader.read(part)
            dataset.write(image.pixels, window=place)
            if not reader.all_valid:
                dataset.write_mask(image.valid, window=place)
    return MemoryRaster(file, ground=ground, bands=bands)


def copy_mask(truth: MaskTruth, grid: Grid, ground: Window, *, scale: int = 1) -> tuple[MemoryMask, int]:
    """Copy a mask raster's share of building on part of the working grid.

    Args:
        truth: What to copy.
        grid: The working grid.
        ground: The part of it.
        scale: Pixels of the copy per pixel of the working grid, along one axis.

    Returns:
        The copy, and its number of building pixels.

    Raises:
        StorageError: If the mask cannot be read.
    """
    file, count = MemoryFile(ext=".tif"), 0
    finer = ground.scaled(scale)
    with _create(file, grid.scaled(scale), finer, bands=1, dtype=np.dtype(np.uint8)) as dataset:
        for part, whole in _parts(ground):
            place = FloatWindow(*(scale * side for side in whole.flatten()))
            share, known = truth.cover(part, out_shape=(part.height * scale, part.width * scale))
            steps = np.rint(share * _COVER_STEPS).astype(np.uint8)
            dataset.write(steps, 1, window=place)
            dataset.write_mask(known, window=place)
            count += int((steps[known] >= _HALF_COVER).sum())
    return MemoryMask(MemoryRaster(file, ground=finer, bands=1), scale=scale), count


@contextmanager
def _create(
    file: MemoryFile, grid: Grid, ground: Window, *, bands: int, dtype: np.dtype[np.generic]
) -> Iterator[DatasetWriter]:
    """Lend an empty GeoTIFF to fill; a file that could not be filled is freed."""
    identity = grid.transform.is_identity
    transform = grid.transform @ Affine.translation(ground.col_off, ground.row_off)
    profile = {
        "driver": "GTiff",
        "width": ground.width,
        "height": ground.height,
        "count": bands,
        "dtype": dtype,
        "crs": grid.crs,
        "transform": _NOT_IDENTITY if identity else transform,
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "interleave": "pixel",
        "photometric": "MINISBLACK",  # or GDAL takes the fourth band for alpha
        "BIGTIFF": "IF_SAFER",
    }
    with ExitStack() as unless_filled:
        unless_filled.callback(file.close)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), file.open(**profile) as dataset:
            yield dataset
        unless_filled.pop_all()


def _parts(ground: Window) -> Iterator[tuple[Window, FloatWindow]]:
    """Cut the ground: windows of the working grid, and their places in the copy."""
    for planned in plan_windows(width=ground.width, height=ground.height, core_px=_PART_PX, halo_px=0):
        core = planned.core
        part = replace(core, col_off=core.col_off + ground.col_off, row_off=core.row_off + ground.row_off)
        yield part, FloatWindow(core.col_off, core.row_off, core.width, core.height)
