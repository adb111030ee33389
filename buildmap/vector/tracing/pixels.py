"""Between exact outlines and the pixels they were drawn around: compiled loops along pixel edges."""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.ragged import Ragged
from buildmap.vector.tracing.trace import NODATA


def covered(outlines: Ragged, left: int, top: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which pixels lie inside exact outlines.

    Args:
        outlines: Polygons along pixel edges, in pixel corners (column, row), within the window.
        left: First column of the window.
        top: First row of the window.
        shape: Rows and columns of the window.

    Returns:
        (rows, cols), True inside.
    """
    crossings = np.zeros((shape[0], shape[1] + 1), np.bool_)
    _cross(outlines.corners, outlines.rings, left, top, crossings)
    return np.asarray(np.logical_xor.accumulate(crossings[:, :-1], axis=1))


@compiled
def mean_steps(outlines: Ragged, values: NDArray[np.uint8], left: int, top: int) -> NDArray[np.float64]:
    """Measure how sharply values fall across exact outlines.

    Args:
        outlines: Polygons along pixel edges, in pixel corners (column, row).
        values: (rows, cols) of a window that covers them; 255 is unknown, and so is what lies outside.
        left: First column of the window.
        top: First row of the window.

    Returns:
        (n,) mean over the pixel edges of each of the difference of the two values; NaN where no edge has
        both.
    """
    steps = np.empty(len(outlines.polygons) - 1)
    for polygon in range(len(steps)):
        rings = outlines.rings[outlines.polygons[polygon] : outlines.polygons[polygon + 1] + 1]
        total, edges = _steps(outlines.corners, rings, values, left, top)
        steps[polygon] = total / edges if edges else np.nan
    return steps


@compiled
def _cross(
    corners: NDArray[np.float64],
    rings: NDArray[np.int64],
    left: int,
    top: int,
    crossings: NDArray[np.bool_],
) -> None:
    """Mark the vertical pixel edges of outlines; two at one place cancel out."""
    for ring in range(len(rings) - 1):
        for corner in range(rings[ring], rings[ring + 1] - 1):
            if corners[corner, 0] == corners[corner + 1, 0]:
                col = int(corners[corner, 0]) - left
                ends = int(corners[corner, 1]) - top, int(corners[corner + 1, 1]) - top
                for row in range(min(ends), max(ends)):
                    crossings[row, col] ^= True


@compiled
def _steps(
    corners: NDArray[np.float64], rings: NDArray[np.int64], values: NDArray[np.uint8], left: int, top: int
) -> tuple[int, int]:
    """Sum how much values differ across every pixel edge; give the sum and the number of edges."""
    height, width = values.shape
    total, edges = np.int64(0), 0
    for ring in range(len(rings) - 1):
        for corner in range(rings[ring], rings[ring + 1] - 1):
            col, end_col = corners[corner, 0] - left, corners[corner + 1, 0] - left
            row, end_row = corners[corner, 1] - top, corners[corner + 1, 1] - top
            first_col, first_row = int(min(col, end_col)), int(min(row, end_row))
            across = row == end_row
            for step in range(int(abs(end_col - col) + abs(end_row - row))):
                after_col, after_row = (
                    (first_col + step, first_row) if across else (first_col, first_row + step)
                )
                before_col, before_row = (after_col, after_row - 1) if across else (after_col - 1, after_row)
                if min(before_col, before_row) < 0 or after_col >= width or after_row >= height:
                    continue
                before = np.int64(values[before_row, before_col])
                after = np.int64(values[after_row, after_col])
                if max(before, after) != NODATA:
                    total += abs(after - before)
                    edges += 1
    return int(total), edges
