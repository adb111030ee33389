"""The lines of groups of footprints: fitted outlines and fitted walls, cut wherever they meet."""

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.vector.orientation import main_direction_deg
from buildmap.vector.ragged import owners, to_ragged
from buildmap.vector.walls.arcs import Walls, without_short
from buildmap.vector.walls.ends import Plan, plan_walls
from buildmap.vector.walls.feet import Outline, facades
from buildmap.vector.walls.lines import draw_lines

GRAIN = 2.0**16
"""Parts of a pixel in which corners are placed: sums with whole pixels are then exact."""

_SHORT_PX = 5.0


def on_grain(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round pixels so finely that nobody sees it, and sums with whole pixels lose nothing."""
    return np.asarray(np.round(coordinates * GRAIN) / GRAIN)


def draw_groups(
    walls: Walls,
    outlines: NDArray[np.object_],
    owner: NDArray[np.int64],
    rings: NDArray[np.object_],
    groups: int,
) -> list[NDArray[np.object_]]:
    """Draw what separates the footprints of each group from each other and from the ground around.

    Args:
        walls: Of all groups, as they were.
        outlines: (o,) fitted outline of each group that has one, courtyards as interiors.
        owner: (o,) group of each, ascending.
        rings: (r,) fitted polygons in place of the walls that close in a ring.
        groups: How many there are.

    Returns:
        For each group, straight lines of two points that meet at their ends only, if it came out well;
        none for a group without an outline, or with a wall that ends where no outline is.
    """
    walls = without_short(walls, _SHORT_PX)
    edges, edge_group = _edges_of(outlines, owner)
    outline = Outline(edges, np.searchsorted(edge_group, np.arange(groups + 1)))
    main = np.full(groups, np.nan)
    main[owner] = np.radians(main_direction_deg(to_ragged(outlines)))
    facing = facades(walls, outline, main)
    plan = plan_walls(walls, draw_lines(walls.points, walls.offsets, facing), outline)
    outer, outer_edge = _cut_edges(outline, plan)
    inner, inner_wall = _steps(plan.corners, plan.offsets)
    closed, closed_group = _edges_of(rings, walls.group[walls.ends[:, 0] < 0])
    segments = on_grain(np.concatenate([outer, inner, closed]))
    whose = np.concatenate([edge_group[outer_edge], walls.group[inner_wall], closed_group])
    kept = (segments[:, :2] != segments[:, 2:]).any(axis=1) & ~plan.failed[whose]
    order = np.argsort(whose[kept], kind="stable")
    drawn = shapely.linestrings(segments[kept][order].reshape(-1, 2, 2))
    return np.split(drawn, np.searchsorted(whose[kept][order], np.arange(1, groups)))


def _edges_of(
    polygons: NDArray[np.object_], owner: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give x and y where each edge of the rings starts and ends, (e, 4), and the owner of each."""
    ragged = to_ragged(polygons)
    whole, of_edge = _steps(ragged.corners, ragged.rings)
    return whole, owner[owners(ragged)[ragged.rings[of_edge]]]


def _steps(
    corners: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the steps from corner to corner along lines, (s, 4), and the line of each."""
    line = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    inside = line[1:] == line[:-1]
    return np.column_stack([corners[:-1], corners[1:]])[inside], line[:-1][inside]


def _cut_edges(outline: Outline, plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cut the edges of outlines at the feet of walls: (k, 4) pieces, and the edge of each."""
    count = len(outline.edges)
    edge = np.concatenate([np.arange(count), plan.foot_edge])
    share = np.concatenate([np.zeros(count), plan.foot_share])
    order = np.lexsort((share, edge))
    start = np.concatenate([outline.edges[:, :2], plan.foot])[order]
    edge = edge[order]
    is_last = np.append(edge[1:] != edge[:-1], True)[: len(edge)]
    end = np.where(is_last[:, None], outline.edges[edge, 2:], np.roll(start, -1, axis=0))
    return np.column_stack([start, end]), edge
