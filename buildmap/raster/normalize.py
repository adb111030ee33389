"""From a raster's numbers to what a network was trained on."""

import numpy as np
from numpy.typing import NDArray

from buildmap.preset import Data
from buildmap.raster.reader import Image


def normalize(image: Image, data: Data) -> NDArray[np.float32]:
    """Scale integers to 0..1 by their type, subtract the mean, divide by the standard deviation.

    Invalid pixels become 0, the mean: NaN would spread through the network.

    Returns:
        (bands, rows, cols).
    """
    dtype = image.pixels.dtype
    full_range = 1.0 if dtype.kind == "f" else float(2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1)
    std = np.asarray(data.std, np.float32)[:, None, None]
    scaled = image.pixels.astype(np.float32)
    scaled *= (1 / (full_range * std)).astype(np.float32)
    scaled -= np.asarray(data.mean, np.float32)[:, None, None] / std
    scaled[:, ~image.valid] = 0
    return scaled
