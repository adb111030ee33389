"""Exact outlines of labels that touch each other: a coverage, valid as it comes.

Pixel edges are walked with the label on the left, in a picture whose rows grow upwards, as in `rings`. A
corner is kept where the outline turns, and where three or more labels meet, 0 among them: so all who share
a wall have the same corners along it.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.polygons import assemble
from buildmap.vector.tracing.rings import Rings

_DOWN, _RIGHT, _UP, _LEFT = 0, 1, 2, 3


def label_outlines(
    labels: NDArray[np.int32], *, left: int, top: int
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Draw the outline of every label.

    Args:
        labels: (rows, cols) 0 off all buildings; each label from 1 on is 4-connected.
        left: Column of the first pixel in the raster.
        top: Row of the first pixel in the raster.

    Returns:
        (n,) valid polygons in pixel corners (column, row) of the raster, and (n,) their labels, ascending.
        Rings start at their topmost leftmost corner, interiors are sorted by it.

    Raises:
        ValueError: If a label is in several pieces.
    """
    rings = _walk_all(np.pad(labels, 1))
    rings.corners[:] += np.array([left, top], np.int32)
    polygons, label = assemble(rings, np.arange(labels.max(initial=0) + 1))
    # a second piece would be an interior that lies outside, or meet the first at a corner
    if not shapely.is_valid(polygons).all():
        raise ValueError("a label is not 4-connected")
    return polygons, label


@compiled
def _walk_all(labels: NDArray[np.int32]) -> Rings:
    """Walk all outlines of labels framed by one pixel of 0."""
    rows, cols = labels.shape
    kept = 0
    for row in range(rows - 1):
        for col in range(cols - 1):
            kept += _is_kept(labels, row, col)
    # at most four outlines pass a corner, and a ring has four corners or more and one that closes it
    corners = np.empty((5 * kept, 2), np.int32)
    offsets = np.zeros(kept + 1, np.int64)
    first, label = np.empty(kept, np.int64), np.empty(kept, np.int64)
    seen = np.zeros((rows, cols), np.bool_)
    count = 0
    for row in range(rows - 1):
        for col in range(cols - 1):
            here = labels[row + 1, col + 1]
            if here > 0 and labels[row + 1, col] != here and not seen[row + 1, col + 1]:
                ring = corners[offsets[count] :]
                steps = _walk(labels, seen, row, col, ring)
                _begin_topmost(ring[: steps + 1])
                first[count] = np.int64(ring[0, 1]) * cols + ring[0, 0]
                offsets[count + 1] = offsets[count] + steps + 1
                label[count] = here
                count += 1
    return Rings(
        corners[: offsets[count]].copy(),
        offsets[: count + 1].copy(),
        first[:count].copy(),
        label[:count].copy(),
    )


@compiled
def _walk(
    labels: NDArray[np.int32], seen: NDArray[np.bool_], row: int, col: int, ring: NDArray[np.int32]
) -> int:
    """Walk the outline that runs down the left side of a pixel; give the number of its corners.

    Where the label meets itself at a corner, the walk turns right: as it is 4-connected, it goes round one of
    the two other pixels, and what is on the two sides are different rings, each of which passes once.
    """
    start_row, start_col, direction = row, col, _DOWN
    here = labels[row + 1, col + 1]
    count = 0
    while True:
        if direction == _DOWN:
            seen[row + 1, col + 1] = True
            row += 1
            ahead, aside = labels[row + 1, col + 1], labels[row + 1, col]
        elif direction == _RIGHT:
            col += 1
            ahead, aside = labels[row, col + 1], labels[row + 1, col + 1]
        elif direction == _UP:
            row -= 1
            ahead, aside = labels[row, col], labels[row, col + 1]
        else:
            col -= 1
            ahead, aside = labels[row + 1, col], labels[row, col]
        if aside == here:
            direction = (direction + 3) % 4
        elif ahead != here:
            direction = (direction + 1) % 4
        if _is_kept(labels, row, col):
            ring[count, 0], ring[count, 1] = col, row
            count += 1
        if row == start_row and col == start_col and direction == _DOWN:
            return count


@inlined
def _is_kept(labels: NDArray[np.int32], row: int, col: int) -> bool:
    """Tell whether something else than one straight line runs through a corner."""
    one, two = labels[row, col], labels[row, col + 1]
    three, four = labels[row + 1, col], labels[row + 1, col + 1]
    return not ((one == two and three == four) or (one == three and two == four))


@compiled
def _begin_topmost(ring: NDArray[np.int32]) -> None:
    """Turn a ring round so that its topmost leftmost corner comes first, and close it."""
    lowest = 0
    for corner in range(1, len(ring) - 1):
        if (ring[corner, 1], ring[corner, 0]) < (ring[lowest, 1], ring[lowest, 0]):
            lowest = corner
    turned = np.concatenate((ring[lowest:-1], ring[:lowest]))
    ring[:-1] = turned
    ring[-1] = turned[0]
