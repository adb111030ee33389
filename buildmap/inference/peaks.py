"""From heat maps over boxes to keypoints on the raster.

A keypoint is a local maximum: a cell that no cell of the 3 x 3 around it exceeds; of equal neighbours the
first, row by row. Its place within the cell is the top of the parabola, along each axis, through the
logarithms of the cell and its two neighbours: exact for a Gaussian, which is what networks are taught. In the
first and last row and column, where a neighbour is missing and where most corners of a building lie, the
parabola goes through the two neighbours on the other side. A keypoint stays within its cell, and so within
its box.
"""

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.keypoints.points import Keypoints

_LEAST = 1e-12
"""Stands for zero, which has no logarithm."""
_AROUND = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if (down, across) != (0, 0)]


def find_keypoints(
    heatmaps: NDArray[np.floating], boxes: NDArray[np.float64], *, peak_min: float
) -> Keypoints:
    """Find the peaks of the heat map of each object.

    Args:
        heatmaps: (n, rows, cols) probability of a vertex over the box, stretched to it.
        boxes: (n, 4) left, top, right, bottom in any coordinates, in which the keypoints are given, too.
        peak_min: Lower peaks are none, 0..1.
    """
    owner, row, col = np.nonzero(_is_peak(heatmaps) & (heatmaps >= peak_min))
    count, rows, cols = heatmaps.shape
    logs = np.log(np.maximum(heatmaps.astype(np.float64), _LEAST))
    x = col + 0.5 + _top(logs[owner, row], col)
    y = row + 0.5 + _top(logs[owner, :, col], row)
    left, top, right, bottom = boxes[owner].T
    points = np.column_stack([left + x * (right - left) / cols, top + y * (bottom - top) / rows])
    return Keypoints(
        points=points,
        score=heatmaps[owner, row, col].astype(np.float64),
        offsets=np.searchsorted(owner, np.arange(count + 1)),
    )


def _is_peak(heatmaps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which cells are local maxima, (n, rows, cols)."""
    _, rows, cols = heatmaps.shape
    framed = np.pad(heatmaps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    peak = np.ones(heatmaps.shape, np.bool_)
    for step in _AROUND:
        other = framed[:, 1 + step[0] : 1 + step[0] + rows, 1 + step[1] : 1 + step[1] + cols]
        peak &= heatmaps > other if step < (0, 0) else heatmaps >= other
    return peak


def _top(lines: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give how far from a cell, in cells, the parabola through it and two neighbours has its top.

    Args:
        lines: (k, cells) logarithms of a row or column of the heat map.
        at: (k,) the cell, a local maximum.

    Returns:
        (k,) -0.5..0.5; 0 where there is no such parabola.
    """
    count, cells = lines.shape
    if cells < 3:
        return np.zeros(count)
    middle = np.clip(at, 1, cells - 2)
    before, centre, after = (lines[np.arange(count), middle + step] for step in (-1, 0, 1))
    bend = before - 2 * centre + after
    falls = bend < 0
    top = np.where(falls, (before - after) / np.where(falls, 2 * bend, 1.0) + middle - at, 0.0)
    return np.asarray(np.clip(top, -0.5, 0.5))
