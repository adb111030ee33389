"""Rasters of other types than the model's: their range of values, as the full range of its type."""

import numpy as np
from numpy.typing import NDArray

from buildmap.data.copies import Copyable
from buildmap.raster.grid import Grid
from buildmap.raster.reader import Image
from buildmap.raster.windows import Window


class RescaledReader:
    """A raster read in another type: lowest becomes 0, highest the type's largest number, or 1 for floats."""

    def __init__(
        self, reader: Copyable, *, value_range: tuple[float, ...], dtype: np.dtype[np.generic]
    ) -> None:
        """Take a raster, which is closed with this.

        Args:
            reader: What to read.
            value_range: Lowest and highest value; what lies beyond is cut.
            dtype: Type of the pixels that are given.
        """
        self._reader = reader
        self._lowest, highest = value_range
        self.dtype = dtype
        self._largest = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype.name).max)
        self._factor = self._largest / (highest - self._lowest)

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self._reader.grid

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based bands that are read, in this order."""
        return self._reader.bands

    @property
    def all_valid(self) -> bool:
        """True where the raster cannot have gaps."""
        return self._reader.all_valid

    def read(self, window: Window, *, out_shape: tuple[int, int] | None = None) -> Image:
        """Read one window of `grid`, resampled before it is rescaled; invalid pixels are 0.

        Raises:
            StorageError: As `RasterReader.read`.
        """
        image = self._reader.read(window, out_shape=out_shape)
        scaled = np.where(image.valid, image.pixels, self._lowest).astype(np.float64)
        scaled -= self._lowest
        scaled *= self._factor
        np.clip(scaled, 0, self._largest, out=scaled)
        return Image(pixels=self._to_type(scaled), valid=image.valid)

    def close(self) -> None:
        """Close the raster."""
        self._reader.close()

    def _to_type(self, scaled: NDArray[np.float64]) -> NDArray[np.generic]:
        return scaled.astype(self.dtype) if self.dtype.kind == "f" else np.rint(scaled).astype(self.dtype)
