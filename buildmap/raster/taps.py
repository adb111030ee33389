"""Weighted sums of source pixels, compiled: the one loop of resampling."""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled


@compiled
def weigh(
    source: NDArray[np.float32],
    row_taps: NDArray[np.intp],
    row_weights: NDArray[np.float32],
    col_taps: NDArray[np.intp],
    col_weights: NDArray[np.float32],
    made: NDArray[np.float32],
) -> None:
    """Fill `made` (rows, cols), each pixel a weighted sum over its row taps, then over its column taps.

    Args:
        source: (source rows, source cols).
        row_taps: (rows, k) source rows.
        row_weights: (rows, k).
        col_taps: (cols, l) source columns.
        col_weights: (cols, l).
        made: Filled; sums are taken in the order of the taps, so a pixel is the same in any window.
    """
    line = np.empty(source.shape[1], source.dtype)
    for row in range(len(row_taps)):
        line[:] = 0
        for tap in range(row_taps.shape[1]):
            weight = row_weights[row, tap]
            if weight != 0:
                above = source[row_taps[row, tap]]
                for col in range(len(line)):
                    line[col] += weight * above[col]
        for col in range(len(col_taps)):
            total = line[col_taps[col, 0]] * col_weights[col, 0]
            for tap in range(1, col_taps.shape[1]):
                total += line[col_taps[col, tap]] * col_weights[col, tap]
            made[row, col] = total
