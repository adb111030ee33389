"""Which corners of one outline are those of another: one to one, within a tolerance."""

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled
from buildmap.vector.ragged import Ragged, open_corners


def count_near(outlines: Ragged, targets: Ragged, tolerance: float) -> NDArray[np.int64]:
    """Count the corners of each polygon that have a partner in the polygon it is paired with.

    Partners are chosen from the nearest pair on; of pairs at one distance, the one whose corner comes
    first in `outlines`, then in `targets`. No corner has two.

    Args:
        outlines: n polygons; the corners of all rings count.
        targets: n polygons.
        tolerance: Largest distance of partners, in the unit of the corners.

    Returns:
        (n,).
    """
    return np.asarray(_count_near(*open_corners(outlines), *open_corners(targets), tolerance))


@compiled
def _count_near(
    corners: NDArray[np.float64],
    starts: NDArray[np.int64],
    targets: NDArray[np.float64],
    target_starts: NDArray[np.int64],
    tolerance: float,
) -> NDArray[np.int64]:
    near = np.zeros(len(starts) - 1, np.int64)
    for pair in range(len(near)):
        ours = corners[starts[pair] : starts[pair + 1]]
        theirs = targets[target_starts[pair] : target_starts[pair + 1]]
        near[pair] = _count_partners(ours, theirs, tolerance)
    return near


@compiled
def _count_partners(ours: NDArray[np.float64], theirs: NDArray[np.float64], tolerance: float) -> int:
    """Count the partners among two sets of corners, at most `tolerance` apart."""
    by_x = np.argsort(theirs[:, 0])
    xs = theirs[by_x, 0]
    one, other, square = [0 for _ in range(0)], [0 for _ in range(0)], [0.0 for _ in range(0)]
    for i in range(len(ours)):
        filled = len(one)
        for place in range(np.searchsorted(xs, ours[i, 0] - tolerance), len(xs)):
            if xs[place] > ours[i, 0] + tolerance:
                break
            j = by_x[place]
            distance = _square(ours, i, theirs, j)
            if distance <= tolerance * tolerance:
                one.append(i)
                other.append(j)
                square.append(distance)
                k = len(one) - 1
                while k > filled and other[k - 1] > j:  # few, and in the order of x
                    other[k], square[k] = other[k - 1], square[k - 1]
                    k -= 1
                other[k], square[k] = j, distance
    free, free_there = np.ones(len(ours), np.bool_), np.ones(len(theirs), np.bool_)
    partners = 0
    for k in np.argsort(np.array(square), kind="mergesort"):
        if free[one[k]] and free_there[other[k]]:
            free[one[k]] = free_there[other[k]] = False
            partners += 1
    return partners


@compiled
def _square(ours: NDArray[np.float64], i: int, theirs: NDArray[np.float64], j: int) -> float:
    """Give the square of the distance of two corners."""
    return float((ours[i, 0] - theirs[j, 0]) ** 2 + (ours[i, 1] - theirs[j, 1]) ** 2)
