"""What a raster's numbers say about buildings, whoever wrote it."""

import math

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.writer import PROBABILITY_STEPS

_ROUNDING = 1e-4  # steps that single precision may lose


def to_probability(pixels: NDArray[np.generic], *, scale: float) -> NDArray[np.uint8]:
    """Give 0..254 for probability 0..1, of any shape.

    Floating point values are probabilities, rounded down, so that a threshold of one half stays exact.
    uint8 values with a scale of 1/254 are probabilities as `predict` stores them. Any other integers
    are masks: what is not zero is a building. Invalid pixels give any value.

    Args:
        pixels: Values as the raster stores them.
        scale: The band's scale in the file, 1 where it has none.
    """
    if pixels.dtype.kind == "f":
        probability = np.clip(np.nan_to_num(pixels.astype(np.float64), nan=0), 0, 1)
        steps: NDArray[np.float64] = np.floor(probability * PROBABILITY_STEPS + _ROUNDING)
        return steps.astype(np.uint8)
    if pixels.dtype == np.uint8 and math.isclose(scale, 1 / PROBABILITY_STEPS, rel_tol=1e-3):
        return np.asarray(np.minimum(pixels, PROBABILITY_STEPS), np.uint8)
    return np.asarray((pixels != 0).view(np.uint8) * np.uint8(PROBABILITY_STEPS))
