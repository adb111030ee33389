"""Rasters that do not say which value stands for no data."""

from dataclasses import replace

import numpy as np

from buildmap.data.copies import Copyable
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image
from buildmap.raster.windows import Window


class BlankReader:
    """A raster in which pixels that have one value in every band are not valid."""

    def __init__(self, pixels: Copyable, *, nodata: float) -> None:
        """Take a raster, which is closed with this."""
        self._pixels, self._nodata = pixels, nodata
        self.all_valid = False

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self._pixels.grid

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based bands that are read, in this order."""
        return self._pixels.bands

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""
        return self._pixels.dtype

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`; on averaged pixels, those that are blank as a whole are not valid.

        Raises:
            StorageError: As `RasterReader.read`.
        """
        image = self._pixels.read(window, out_shape=out_shape)
        return replace(image, valid=image.valid & (image.pixels != self._nodata).any(axis=0))

    def close(self) -> None:
        """Close the raster."""
        self._pixels.close()
