"""Where walls stand on the outline of their group, and which way that faces there. Compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.walls.arcs import Walls
from buildmap.vector.walls.lines import off_line

CORNER = -1.0
"""In place of an edge."""

_REACH_PX = 8.0
"""How far the outline may have moved from where a wall ended on it."""
_CORNER_PX = 1.5
"""A wall that would end so near a corner of the outline ends in it."""
_CORNER_ALONG_PX = 4.0


class Outline(NamedTuple):
    """The fitted outlines of the groups, courtyards included, as edges."""

    edges: NDArray[np.float64]
    """(e, 4) x and y where an edge starts and where it ends."""
    offsets: NDArray[np.int64]
    """(groups + 1,) where the edges of each group start."""


@inlined
def _edge(outline: Outline, number: int) -> tuple[float, float, float, float]:
    edge = outline.edges[number]
    return edge[0], edge[1], edge[2], edge[3]


@compiled
def facades(walls: Walls, outline: Outline, main: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the directions a wall may face: those of the outline at its ends, and that of its group.

    Args:
        walls: w of them.
        outline: Of the same groups.
        main: (groups,) main direction of each in radians; NaN for none.

    Returns:
        (w, 3) radians, NaN where a wall does not end on the outline.
    """
    facing = np.full((len(walls.group), 3), np.nan)
    for wall in range(len(walls.group)):
        facing[wall, 0] = main[walls.group[wall]]
        for side in range(2):
            end = walls.ends[wall, side]
            if end >= 0 and walls.on_outline[end]:
                x, y = walls.junctions[end, 0], walls.junctions[end, 1]
                edge = _nearest_edge(outline, walls.group[wall], x, y)
                if edge >= 0:
                    x0, y0, x1, y1 = _edge(outline, edge)
                    facing[wall, 1 + side] = math.atan2(y1 - y0, x1 - x0)
    return facing


@compiled
def _nearest_edge(outline: Outline, group: int, x: float, y: float) -> int:
    """Find the edge nearest a place among those long enough to face somewhere."""
    best, square = -1, _REACH_PX**2
    for edge in range(outline.offsets[group], outline.offsets[group + 1]):
        x0, y0, x1, y1 = _edge(outline, edge)
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        if length < _REACH_PX**2:
            continue
        share = _share_along(x0, y0, x1, y1, x, y)
        here = (x - x0 - share * (x1 - x0)) ** 2 + (y - y0 - share * (y1 - y0)) ** 2
        if here < square:
            best, square = edge, here
    return best


@compiled
def foot_of(
    outline: Outline,
    group: int,
    point: NDArray[np.float64],
    angle: float,
    junction: tuple[float, float],
    outwards: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Find where a wall ends on the outline.

    Of several corners near, it is the innermost: the wall goes on as outline. A line that misses the
    outline ends where that is nearest.

    Args:
        outline: Of all groups.
        group: Whose wall it is.
        point: (2,) a point on the line of the wall.
        angle: Its direction in radians.
        junction: Where the wall ended on the outline as it was.
        outwards: Some direction along the wall towards that end.

    Returns:
        x, y, the edge and the share of it; for the edge `CORNER` in a corner; all NaN if the outline is
        nowhere near.
    """
    x, y, edge, share = _cross(outline, group, point, angle, junction)
    if math.isnan(x):
        return _nearest(outline, group, junction)
    ahead_x, ahead_y = math.cos(angle), math.sin(angle)
    if ahead_x * outwards[0] + ahead_y * outwards[1] < 0:
        ahead_x, ahead_y = -ahead_x, -ahead_y
    back = (junction[0] - x) * ahead_x + (junction[1] - y) * ahead_y
    nearest, farthest = min(back, 0.0) - _CORNER_ALONG_PX, max(back, 0.0) + _CORNER_ALONG_PX
    best, corner = math.inf, -1
    for number in range(outline.offsets[group], outline.offsets[group + 1]):
        corner_x, corner_y = outline.edges[number, 0], outline.edges[number, 1]
        along = (corner_x - x) * ahead_x + (corner_y - y) * ahead_y
        if (
            nearest <= along <= farthest
            and abs(off_line(corner_x, corner_y, x, y, angle)) <= _CORNER_PX
            and along < best
        ):
            best, corner = along, number
    if corner < 0:
        return x, y, edge, share
    return outline.edges[corner, 0], outline.edges[corner, 1], CORNER, 0.0


@compiled
def _cross(
    outline: Outline, group: int, point: NDArray[np.float64], angle: float, junction: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Find where a line crosses the outline nearest a junction: x, y, edge, share; NaN for nowhere near."""
    best, best_edge, best_share = _REACH_PX, -1, 0.0
    x, y = math.nan, math.nan
    for edge in range(outline.offsets[group], outline.offsets[group + 1]):
        x0, y0, x1, y1 = _edge(outline, edge)
        before = off_line(x0, y0, point[0], point[1], angle)
        after = off_line(x1, y1, point[0], point[1], angle)
        if (before > 0) == (after > 0):
            continue
        share = before / (before - after)
        here_x, here_y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        distance = math.hypot(here_x - junction[0], here_y - junction[1])
        if distance < best:
            best, best_edge, best_share = distance, edge, share
            x, y = here_x, here_y
    return x, y, float(best_edge), best_share


@compiled
def _nearest(
    outline: Outline, group: int, junction: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Find the place on the outline nearest a junction: x, y, edge, share; NaN for nowhere near."""
    best, best_edge, best_share = _REACH_PX, -1, 0.0
    x, y = math.nan, math.nan
    for edge in range(outline.offsets[group], outline.offsets[group + 1]):
        x0, y0, x1, y1 = _edge(outline, edge)
        share = _share_along(x0, y0, x1, y1, junction[0], junction[1])
        here_x, here_y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        distance = math.hypot(here_x - junction[0], here_y - junction[1])
        if distance < best:
            best, best_edge, best_share = distance, edge, share
            x, y = here_x, here_y
    if best_share in (0.0, 1.0):
        return x, y, CORNER, 0.0
    return x, y, float(best_edge), best_share


@compiled
def _share_along(x0: float, y0: float, x1: float, y1: float, x: float, y: float) -> float:
    """Give where on an edge, 0..1, it is nearest a place."""
    square = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = (x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)
    return min(max(along / square, 0.0), 1.0) if square > 0 else 0.0
