"""Points along a ring, about one a pixel, from which lines and circles are fitted: compiled loops."""

import math

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled


@compiled
def count_samples(ring: NDArray[np.float64]) -> int:
    """Count the samples of a ring.

    Args:
        ring: (c, 2) pixels; the first corner is repeated last.
    """
    count = 0
    for corner in range(len(ring) - 1):
        count += _parts(ring, corner)
    return count


@compiled
def sample_ring(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut every edge into equal parts of about a pixel, and give their middles.

    On an outline along pixel edges these are the middles of the pixel edges.

    Args:
        ring: (c, 2) pixels; the first corner is repeated last.

    Returns:
        (n, 2) in the order of the ring.
    """
    samples, filled = np.empty((count_samples(ring), 2)), 0
    for corner in range(len(ring) - 1):
        x, y = ring[corner, 0], ring[corner, 1]
        along_x, along_y = ring[corner + 1, 0] - x, ring[corner + 1, 1] - y
        parts = _parts(ring, corner)
        for part in range(parts):
            share = (part + 0.5) / parts
            samples[filled, 0], samples[filled, 1] = x + share * along_x, y + share * along_y
            filled += 1
    return samples


@compiled
def _parts(ring: NDArray[np.float64], corner: int) -> int:
    length = math.hypot(ring[corner + 1, 0] - ring[corner, 0], ring[corner + 1, 1] - ring[corner, 1])
    return max(1, math.floor(length + 0.5))
