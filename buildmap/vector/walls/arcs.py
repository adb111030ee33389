"""The walls between footprints that touch: lines from junction to junction, each between two of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from buildmap.compiled import compiled
from buildmap.vector.ragged import Ragged, owners

_NONE = -1


class Walls(NamedTuple):
    """Walls of all groups, those of a group one after the other."""

    points: NDArray[np.float64]
    """(p, 2) x and y along each wall, junctions included."""
    offsets: NDArray[np.int64]
    """(w + 1,) where each wall starts in `points`."""
    ends: NDArray[np.int64]
    """(w, 2) junctions at its start and at its end; -1 and -1 for a wall that closes in a ring."""
    group: NDArray[np.int64]
    """(w,) whose wall it is."""
    junctions: NDArray[np.float64]
    """(j, 2) x and y where walls meet each other or the outline of the group."""
    on_outline: NDArray[np.bool_]
    """(j,) True = on the outline of the group, or of one of its courtyards."""


class _Edges(NamedTuple):
    """Edges of polygons between nodes, each once."""

    low: NDArray[np.int64]
    """(e,) one of its nodes."""
    high: NDArray[np.int64]
    """(e,) the other, a greater number."""
    uses: NDArray[np.int64]
    """(e,) polygons that have it."""
    turns: NDArray[np.int64]
    """(e,) polygons that follow it from low to high, less those that follow it back."""


def find_walls(outlines: Ragged, group: NDArray[np.int64]) -> tuple[Walls, NDArray[np.bool_]]:
    """Find the walls between the polygons of each group.

    A wall is a line along which the same two polygons lie. Where it ends is a junction: there it meets
    another wall, or the outline of the group. Polygons of different groups never share a wall.

    Args:
        outlines: n polygons; those of a group have a vertex wherever another's wall ends on theirs, and
            their exteriors all run one way round, their interiors the other.
        group: (n,) from 0.

    Returns:
        The walls, sorted by group, and (groups,) True = some edge has polygons on both sides twice over,
        so that they overlap.
    """
    nodes, node_group, node_of = _number_nodes(outlines, group)
    edges = _gather_edges(outlines, node_of)
    shared = edges.uses == 2
    tangled = np.zeros(int(group.max(initial=-1)) + 1, np.bool_)
    wrong = (edges.uses > 2) | (shared & (edges.turns != 0))
    tangled[node_group[edges.low[wrong]]] = True
    on_outline = np.zeros(len(nodes), np.bool_)
    single = edges.uses == 1
    on_outline[edges.low[single]] = on_outline[edges.high[single]] = True
    both = np.concatenate([edges.low[shared], edges.high[shared]])
    across = np.concatenate([edges.high[shared], edges.low[shared]])
    order = np.lexsort((across, both))
    degree = np.bincount(both, minlength=len(nodes))
    starts = np.append(0, np.cumsum(degree))
    is_junction = (degree > 0) & ((degree != 2) | on_outline)
    path, offsets = _follow(starts, across[order], is_junction)
    first, last = path[offsets[:-1]], path[offsets[1:] - 1]
    number = np.where(is_junction, np.cumsum(is_junction) - 1, _NONE)
    by_group = np.argsort(node_group[first], kind="stable")
    lengths = np.diff(offsets)[by_group]
    sorted_offsets = np.append(0, np.cumsum(lengths))
    places = np.repeat(offsets[:-1][by_group] - sorted_offsets[:-1], lengths) + np.arange(sorted_offsets[-1])
    walls = Walls(
        points=nodes[path[places]],
        offsets=sorted_offsets,
        ends=number[np.column_stack([first, last])][by_group],
        group=node_group[first][by_group],
        junctions=nodes[is_junction],
        on_outline=on_outline[is_junction],
    )
    return walls, tangled


def without_short(walls: Walls, longest: float) -> Walls:
    """Leave out short walls amid groups: where four footprints meet, two junctions lie side by side.

    Args:
        walls: w of them.
        longest: Pixels along a wall that is left out; the junctions at its ends become one.
    """
    if not len(walls.junctions):
        return walls
    steps = np.zeros(len(walls.points))
    steps[1:] = np.hypot(*np.diff(walls.points, axis=0).T)
    steps[walls.offsets[:-1]] = 0
    length = np.add.reduceat(steps, walls.offsets[:-1])
    amid = (walls.ends >= 0).all(axis=1) & ~walls.on_outline[walls.ends].any(axis=1)
    short = amid & (length <= longest)
    count = len(walls.junctions)
    links = coo_array((np.ones(short.sum(), np.bool_), tuple(walls.ends[short].T)), shape=(count, count))
    _, met = connected_components(links, directed=False)
    _, first = np.unique(met, return_index=True)
    kept = np.flatnonzero(~short)
    corners = np.repeat(~short, np.diff(walls.offsets))
    return walls._replace(
        points=walls.points[corners],
        offsets=np.append(0, np.cumsum(np.diff(walls.offsets)[kept])),
        ends=np.where(walls.ends[kept] >= 0, first[met][walls.ends[kept]], _NONE),
        group=walls.group[kept],
    )


def _number_nodes(
    outlines: Ragged, group: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the distinct corners of each group, their group, and which of them each corner is."""
    x, y = outlines.corners.T
    whose = group[owners(outlines)]
    order = np.lexsort((x, y, whose))
    x, y, sorted_group = x[order], y[order], whose[order]
    new = np.ones(len(x), np.bool_)
    new[1:] = (np.diff(x) != 0) | (np.diff(y) != 0) | (np.diff(sorted_group) != 0)
    node_of = np.empty(len(x), np.int64)
    node_of[order] = np.cumsum(new) - 1
    return np.column_stack([x[new], y[new]]), sorted_group[new], node_of


def _gather_edges(outlines: Ragged, node_of: NDArray[np.int64]) -> _Edges:
    is_edge = np.ones(len(node_of), np.bool_)
    is_edge[outlines.rings[1:] - 1] = False
    start = np.flatnonzero(is_edge)
    one, other = node_of[start], node_of[start + 1]
    low, high = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    forward = np.where(one < other, 1, -1)[order]
    new = np.append(True, (np.diff(low) != 0) | (np.diff(high) != 0))[: len(low)]
    starts = np.flatnonzero(new)
    turns = np.add.reduceat(forward, starts) if len(starts) else forward
    return _Edges(low[new], high[new], np.diff(np.append(starts, len(low))), turns)


@compiled
def _follow(
    starts: NDArray[np.int64], across: NDArray[np.int64], is_junction: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Follow shared edges from junction to junction, then round the rings that have none.

    Args:
        starts: (n + 1,) where the neighbours of each node start in `across`.
        across: (2 e,) nodes at the other end of an edge, each edge from both its ends.
        is_junction: (n,).

    Returns:
        (p,) nodes along the walls, and (w + 1,) where each wall starts among them.
    """
    used = np.zeros(len(across), np.bool_)
    path, offsets = [0 for _ in range(0)], [0]
    for closed in (False, True):
        for node in range(len(is_junction)):
            if is_junction[node] == closed:
                continue
            for first in range(starts[node], starts[node + 1]):
                if used[first]:
                    continue
                path.append(node)
                here, edge = node, first
                while True:
                    there = across[edge]
                    used[edge] = True
                    back = starts[there] + np.searchsorted(across[starts[there] : starts[there + 1]], here)
                    used[back] = True
                    path.append(there)
                    if is_junction[there] or there == node:
                        break
                    edge = starts[there] if back != starts[there] else starts[there] + 1
                    here = there
                offsets.append(len(path))
    return np.array(path), np.array(offsets)
