"""Narrow gaps between footprints that touch, filled: the groove that splits two houses is no ground."""

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.compiled import compiled
from buildmap.vector.ragged import Ragged, owners, to_ragged
from buildmap.vector.tracing.label_outlines import label_outlines

_GAP_PX = 6
"""Widest gap that is filled."""
_HOLE_PX = 160
"""Largest courtyard between several footprints that is none."""
_BOX_MAX_PX = 1 << 24


def without_gaps(polygons: NDArray[np.object_]) -> tuple[NDArray[np.object_], shapely.Polygon] | None:
    """Fill the narrow gaps between footprints that touch, each half by the footprint on its side.

    Args:
        polygons: (k,) valid, a group, their outlines along pixel edges.

    Returns:
        (k,) polygons with a vertex wherever three of them meet, or two and the ground around; and
        their union. None if the outlines do not run along pixel edges, or in a box too large, or if
        the polygons overlap, or touch in several groups.
    """
    ragged = to_ragged(shapely.orient_polygons(polygons))
    left, top, right, bottom = shapely.total_bounds(polygons)
    if (right - left) * (bottom - top) > _BOX_MAX_PX or not _is_on_pixels(ragged):
        return None
    labels = _burn(ragged, int(left), int(top), (int(bottom - top), int(right - left)))
    pixels = np.bincount(np.clip(labels.ravel(), 0, None), minlength=len(polygons) + 1)[1:]
    if not np.array_equal(pixels, shapely.area(polygons)):  # they overlap
        return None
    _, own = _holes(labels)
    _fill(labels, _in_gaps(labels))
    small, _ = _holes(labels)
    _fill(labels, small & ~own)
    if ndimage.label(labels)[1] > 1:
        return None
    closed, _ = label_outlines(labels, left=int(left), top=int(top))
    union, _ = label_outlines((labels > 0).astype(np.int32), left=int(left), top=int(top))
    return closed, union[0]


def _is_on_pixels(ragged: Ragged) -> bool:
    step = np.diff(ragged.corners, axis=0)
    is_edge = np.ones(len(step), np.bool_)
    is_edge[ragged.rings[1:-1] - 1] = False
    straight = (step == 0).any(axis=1) | ~is_edge
    return bool(straight.all() and (ragged.corners == np.floor(ragged.corners)).all())


def _burn(ragged: Ragged, left: int, top: int, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Give every pixel the number of the polygon it lies in, counted from 1."""
    corners = ragged.corners.astype(np.int64) - np.array([left, top])
    changes = np.zeros((shape[0], shape[1] + 1), np.int32)
    _add_edges(corners, ragged.rings, owners(ragged) + 1, changes)
    return np.ascontiguousarray(np.cumsum(changes, axis=1, dtype=np.int32)[:, :-1])


@compiled
def _add_edges(
    corners: NDArray[np.int64], rings: NDArray[np.int64], label: NDArray[np.int64], changes: NDArray[np.int32]
) -> None:
    """Note where a label begins along a row, and where it ends; its exterior is counter-clockwise."""
    for ring in range(len(rings) - 1):
        for corner in range(rings[ring], rings[ring + 1] - 1):
            col, one, other = corners[corner, 0], corners[corner, 1], corners[corner + 1, 1]
            for row in range(min(one, other), max(one, other)):
                changes[row, col] += label[corner] if other < one else -label[corner]


def _holes(labels: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the ground in small holes, and that in holes of any size of one footprint alone."""
    ground, count = ndimage.label(labels == 0)
    lowest, highest = _labels_around(labels, ground, count)
    small = (lowest > 0) & (np.bincount(ground.ravel(), minlength=count + 1) <= _HOLE_PX)
    own = (lowest > 0) & (lowest == highest)
    return np.asarray(small[ground]), np.asarray(own[ground])


@compiled
def _in_gaps(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find the ground with footprints on two opposite sides, not the same, and near each other."""
    rows, cols = labels.shape
    between = np.zeros(labels.shape, np.bool_)
    for row in range(rows):
        for col in range(cols):
            here = labels[row, col]
            if here == 0:
                continue
            for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
                widest = _GAP_PX if down * across == 0 else int(_GAP_PX / math.sqrt(2.0))
                for step in range(1, widest + 2):
                    there_row, there_col = row + step * down, col + step * across
                    if not (there_row < rows and 0 <= there_col < cols):
                        break
                    there = labels[there_row, there_col]
                    if there != 0:
                        if there != here:
                            for back in range(1, step):
                                between[row + back * down, col + back * across] = True
                        break
    return between


@compiled
def _labels_around(
    labels: NDArray[np.int32], ground: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the lowest and the highest label around each piece of ground, (count + 1,); -1 at the border."""
    rows, cols = labels.shape
    lowest, highest = np.full(count + 1, np.iinfo(np.int64).max), np.full(count + 1, -1)
    lowest[0] = -1
    for row in range(rows):
        for col in range(cols):
            piece = ground[row, col]
            if piece == 0 or lowest[piece] < 0:
                continue
            if row == 0 or col == 0 or row == rows - 1 or col == cols - 1:
                lowest[piece] = highest[piece] = -1
                continue
            for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                there = labels[row + down, col + across]
                if there > 0:
                    lowest[piece] = min(lowest[piece], there)
                    highest[piece] = max(highest[piece], there)
    return lowest, highest


@compiled
def _fill(labels: NDArray[np.int32], between: NDArray[np.bool_]) -> None:
    """Label ground by what is nearest, from the edges inwards; of two labels as near, the lower."""
    open_rows, open_cols = np.nonzero(between)
    while len(open_rows) > 0:
        found = np.zeros(len(open_rows), np.int32)
        for number in range(len(open_rows)):
            for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                row, col = open_rows[number] + down, open_cols[number] + across
                if 0 <= row < labels.shape[0] and 0 <= col < labels.shape[1] and labels[row, col] > 0:
                    there = labels[row, col]
                    found[number] = there if found[number] == 0 else min(found[number], there)
        if not found.any():
            break
        for number in range(len(open_rows)):
            if found[number] > 0:
                labels[open_rows[number], open_cols[number]] = found[number]
        left = found == 0
        open_rows, open_cols = open_rows[left], open_cols[left]
