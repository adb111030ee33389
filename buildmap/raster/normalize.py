"""From a raster's numbers to what a network was trained on."""

import numpy as np
from numpy.typing import NDArray

from buildmap.preset import Data
from buildmap.raster.reader import Image


def normalize(image: Image, data: Data) -> NDArray[np.float32]:
    """Scale an image as `scale_pixels`; invalid pixels become 0, the mean: NaN would spread.

    Returns:
        (bands, rows, cols).
    """
    scaled = scale_pixels(image.pixels, data)
    scaled[:, ~image.valid] = 0
    return scaled


def scale_pixels(pixels: NDArray[np.generic], data: Data) -> NDArray[np.float32]:
    """Scale integers to 0..1 by their type, subtract the mean, divide by the standard deviation.

    Args:
        pixels: (..., bands, rows, cols).
        data: Mean and standard deviation of each band, as shares of the type's range.

    Returns:
        The same shape.
    """
    factor, shift = pixel_scale(pixels.dtype, data)
    scaled: NDArray[np.float32] = np.multiply(pixels, factor, dtype=np.float32)
    scaled -= shift
    return scaled


def pixel_scale(dtype: np.dtype[np.generic], data: Data) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give what `scale_pixels` multiplies raw numbers by, and what it then subtracts: (bands, 1, 1) each."""
    std = np.asarray(data.std, np.float32)[:, None, None]
    factor = (1 / (_full_range(dtype) * std)).astype(np.float32)
    return factor, np.asarray(data.mean, np.float32)[:, None, None] / std


def fill_invalid(image: Image, data: Data) -> NDArray[np.generic]:
    """Give the pixels with the invalid ones at the mean, in the raster's own numbers.

    Returns:
        (bands, rows, cols); the image's own array where all is valid.
    """
    if image.valid.all():
        return image.pixels
    mean = np.asarray(data.mean, np.float64) * _full_range(image.pixels.dtype)
    if image.pixels.dtype.kind != "f":
        mean = np.rint(mean)
    fill = mean.astype(image.pixels.dtype)[:, None, None]
    return np.where(image.valid, image.pixels, fill)


def _full_range(dtype: np.dtype[np.generic]) -> float:
    return 1.0 if dtype.kind == "f" else float(2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1)
