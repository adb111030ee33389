"""Groups that cannot be fitted as a whole: only the footprints in the way are drawn by themselves."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.walls.faces import Fit, fit_faces
from buildmap.vector.walls.linework import on_grain
from buildmap.vector.walls.seams import sew
from buildmap.vector.walls.sound import is_sound
from buildmap.vector.walls.touching import touching_groups
from buildmap.vector.walls.welding import weld

_ROUNDS = 6
_TOGETHER, _APART, _SIMPLE, _FIRST = 0, 1, 2, 3
"""How a footprint is drawn: fitted with its group, by itself, simplified, or that before all others."""
_RANK = np.array([1, 2, 3, 0])
_SIMPLIFY_PX = 3.0


def mend(
    found: NDArray[np.object_], noded: NDArray[np.object_], number: NDArray[np.int64], fit: Fit
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Draw by themselves the footprints that were lost when their groups were fitted.

    The rest of the group is fitted again without them, and all are sewn together. What is lost by that
    is drawn by itself in the next round, or a step nearer to how it was.

    Args:
        found: (n,) polygons, or None for those lost.
        noded: (n,) as they were, sorted by group; each group is a coverage.
        number: (n,) group of each, ascending.
        fit: Fits detached polygons; called once a round.

    Returns:
        (n,) polygons, None for all of a group that came to nothing; and (n,) True = simplified.
    """
    found, step = found.copy(), np.zeros(len(found), np.int64)
    for _ in range(_ROUNDS):
        lost = shapely.is_missing(found)
        step[lost] += 1
        given_up = np.isin(number, number[step > _FIRST])
        some = np.flatnonzero(np.isin(number, number[lost]) & ~given_up)
        if not len(some):
            break
        shapes = _draw(noded[some], number[some], step[some], fit)
        for members in _runs(number[some]):
            whose = some[members]
            found[whose], step[whose] = _put_together(shapes[members], noded[whose], step[whose])
    found[np.isin(number, number[shapely.is_missing(found)])] = None
    return found, step >= _SIMPLE


def simplified(noded: NDArray[np.object_]) -> NDArray[np.object_]:
    """Drop corners of a group along its walls (Visvalingam and Whyatt); none where that spoils it."""
    simple = shapely.coverage_simplify(noded, _SIMPLIFY_PX)
    simple = np.asarray(shapely.set_coordinates(simple, on_grain(shapely.get_coordinates(simple))))
    return simple if is_sound(simple) else noded


def _runs(number: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Give the places of each of the numbers, which ascend."""
    return np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1)


def _draw(
    noded: NDArray[np.object_], number: NDArray[np.int64], step: NDArray[np.int64], fit: Fit
) -> NDArray[np.object_]:
    """Fit those that are fitted together, in the groups they still are, and those that are by themselves.

    Returns:
        (n,) polygons; None for what is not fitted, and what no fit is near.
    """
    piece, count = np.full(len(noded), -1), 0
    for members in _runs(number):
        rest = members[step[members] == _TOGETHER]
        if len(rest):
            piece[rest] = touching_groups(noded[rest]) + count
            count = int(piece[rest].max()) + 1
    alone = np.flatnonzero(step == _APART)
    piece[alone] = np.arange(len(alone)) + count
    shapes = np.full(len(noded), None, np.object_)
    order = np.argsort(piece, kind="stable")
    order = order[piece[order] >= 0]
    if len(order):
        groups = [noded[order][members] for members in _runs(piece[order])]
        unions = np.array([shapely.coverage_union_all(members) for members in groups], np.object_)
        shapes[order] = fit_faces(noded[order], piece[order], unions, fit)
    return shapes


def _put_together(
    shapes: NDArray[np.object_], noded: NDArray[np.object_], step: NDArray[np.int64]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Sew the footprints of a group together, simplified where no fit is near.

    Returns:
        (k,) polygons, None for those lost; and (k,) how they are drawn.
    """
    missing = shapely.is_missing(shapes)
    step = np.where(missing & (step == _APART), _SIMPLE, step)
    if (step >= _SIMPLE).all():  # then all are better simplified as the one coverage that they are
        return np.full(len(shapes), None, np.object_), np.full(len(step), _FIRST)
    unfit = missing & (step == _TOGETHER)
    if unfit.any():
        found = noded.copy()
        found[unfit] = None
        return found, step
    shapes = shapes.copy()
    if missing.any():
        shapes[missing] = simplified(noded)[missing]
    found = sew(shapes, _RANK[step], noded)
    return found if shapely.is_missing(found).any() else weld(found), step
