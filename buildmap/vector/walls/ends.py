"""Where walls meet each other and the outline of their group: corners, junctions, feet. Compiled loops."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from buildmap.compiled import compiled, inlined
from buildmap.vector.walls.arcs import Walls
from buildmap.vector.walls.feet import CORNER, Outline, foot_of
from buildmap.vector.walls.lines import Lines, off_line, pairs

_REACH_PX = 8.0
"""How far a junction may move."""
_ALIKE = math.radians(12.0)
_THROUGH_PX = 2.5
_PARALLEL = 0.3
"""Sine below which two lines meet nowhere near."""
_ANCHOR = 1e-3


class _Strands(NamedTuple):
    """Lines of walls, each of which may run on across a junction."""

    of: NDArray[np.int64]
    """(s,) which of the lines each has become part of."""
    points: NDArray[np.float64]
    """(s, 2) on the line."""
    angles: NDArray[np.float64]
    """(s,) radians."""
    pinned: NDArray[np.bool_]
    """(s,) True = goes through a corner of the outline, and moves no more."""


class Plan(NamedTuple):
    """Fitted walls, and where they stand on the outline."""

    corners: NDArray[np.float64]
    """(c, 2) x and y along each wall."""
    offsets: NDArray[np.int64]
    """(w + 1,) where each wall starts in `corners`; a wall that closes in a ring has none."""
    foot_edge: NDArray[np.int64]
    """(f,) edge of the outline a wall ends on, amid it."""
    foot_share: NDArray[np.float64]
    """(f,) where on that edge, 0..1."""
    foot: NDArray[np.float64]
    """(f, 2) x and y of that place."""
    failed: NDArray[np.bool_]
    """(groups,) True = a wall ends where there is no outline."""


@inlined
def _place(places: NDArray[np.float64], number: int) -> tuple[float, float]:
    return places[number, 0], places[number, 1]


@compiled
def plan_walls(walls: Walls, lines: Lines, outline: Outline) -> Plan:
    """Put walls together from their lines.

    Lines that continue each other across a junction amid the group become one. A wall that ends near a
    corner of the outline is moved onto it. Then walls end where their lines meet the outline, or in
    the point nearest all lines of a junction, and turn where their own lines meet.

    Args:
        walls: w of them.
        lines: Of these walls.
        outline: Of the same groups; feet amid its edges are for the caller to insert.
    """
    strands = _join_lines(walls, lines)
    failed = np.zeros(len(outline.offsets) - 1, np.bool_)
    feet = np.full((len(walls.group), 2, 4), np.nan)
    for _ in range(2):  # the second time, every line is where it stays
        for wall in range(len(walls.group)):
            for side in range(2):
                end = walls.ends[wall, side]
                if end >= 0 and walls.on_outline[end]:
                    x, y = _place(walls.junctions, end)
                    line = _end_line(lines, wall, side)
                    inner_x, inner_y = _place(lines.points, line)
                    outwards = (x - inner_x, y - inner_y)
                    root = strands.of[line]
                    point, angle = strands.points[root], strands.angles[root]
                    foot = foot_of(outline, walls.group[wall], point, angle, (x, y), outwards)
                    if foot[2] == CORNER and not strands.pinned[root]:
                        point[0], point[1] = foot[0], foot[1]
                        strands.pinned[root] = True
                    for part in range(4):
                        feet[wall, side, part] = foot[part]
                    failed[walls.group[wall]] |= math.isnan(foot[0])
    return _assemble(walls, lines, strands, feet, failed)


@compiled
def _end_line(lines: Lines, wall: int, side: int) -> int:
    return int(lines.offsets[wall] if side == 0 else lines.offsets[wall + 1] - 1)


@compiled
def _join_lines(walls: Walls, lines: Lines) -> _Strands:
    """Make one line of those that continue each other across a junction amid the group."""
    of = np.arange(len(lines.angles))
    order = np.argsort(walls.ends.ravel(), kind="mergesort")
    for one in range(len(order)):
        end = walls.ends[order[one] // 2, order[one] % 2]
        if end < 0 or walls.on_outline[end]:
            continue
        a = _end_line(lines, order[one] // 2, order[one] % 2)
        for other in range(one + 1, len(order)):
            if walls.ends[order[other] // 2, order[other] % 2] != end:
                break
            b = _end_line(lines, order[other] // 2, order[other] % 2)
            if a != b and _continues(lines, a, b, walls.junctions[end]):
                low, high = min(of[a], of[b]), max(of[a], of[b])
                of[of == high] = low
    return _average(lines, of)


@compiled
def _continues(lines: Lines, a: int, b: int, junction: NDArray[np.float64]) -> bool:
    """Tell whether two lines that meet at a junction are one, on either side of it."""
    away = (lines.points[a] - junction) * (lines.points[b] - junction)
    turned = abs(math.sin(lines.angles[a] - lines.angles[b]))
    if away[0] + away[1] >= 0 or turned > math.sin(_ALIKE):
        return False
    x, y = junction[0], junction[1]
    off_a = off_line(x, y, lines.points[a, 0], lines.points[a, 1], lines.angles[a])
    off_b = off_line(x, y, lines.points[b, 0], lines.points[b, 1], lines.angles[b])
    same_way = 1.0 if math.cos(lines.angles[a] - lines.angles[b]) > 0 else -1.0
    return abs(off_a - same_way * off_b) < _THROUGH_PX


@compiled
def _average(lines: Lines, of: NDArray[np.int64]) -> _Strands:
    """Give each line that others joined the mean of their places, and the angle of the longest."""
    points, angles = lines.points.copy(), lines.angles.copy()
    longest, total = lines.samples.copy(), lines.samples.astype(np.float64)
    for line in range(len(of)):
        root = of[line]
        if root != line:
            share = lines.samples[line] / (total[root] + lines.samples[line])
            points[root] += share * (lines.points[line] - points[root])
            total[root] += lines.samples[line]
            if lines.samples[line] > longest[root]:
                longest[root], angles[root] = lines.samples[line], lines.angles[line]
    return _Strands(of, points, angles, np.zeros(len(of), np.bool_))


@compiled
def _meet_amid(walls: Walls, lines: Lines, strands: _Strands) -> NDArray[np.float64]:
    """Place the junctions amid a group, (j, 2): least squares of the distances to the lines that meet there.

    Long lines count more; an anchor, weak beside them, holds a junction whose lines are parallel.
    """
    count = len(walls.junctions)
    square, right = np.zeros((count, 3)), np.zeros((count, 2))
    for wall in range(len(walls.group)):
        for side in range(2):
            end = walls.ends[wall, side]
            if end < 0 or walls.on_outline[end]:
                continue
            line = _end_line(lines, wall, side)
            weight = float(lines.samples[line]) ** 2
            point, angle = strands.points[strands.of[line]], strands.angles[strands.of[line]]
            across_x, across_y = -math.sin(angle), math.cos(angle)
            off = -off_line(walls.junctions[end, 0], walls.junctions[end, 1], point[0], point[1], angle)
            square[end, 0] += weight * (across_x * across_x + _ANCHOR)
            square[end, 1] += weight * across_x * across_y
            square[end, 2] += weight * (across_y * across_y + _ANCHOR)
            right[end, 0] += weight * across_x * off
            right[end, 1] += weight * across_y * off
    meeting = walls.junctions.copy()
    for end in range(count):
        determinant = square[end, 0] * square[end, 2] - square[end, 1] ** 2
        if determinant > 0:
            x = (square[end, 2] * right[end, 0] - square[end, 1] * right[end, 1]) / determinant
            y = (square[end, 0] * right[end, 1] - square[end, 1] * right[end, 0]) / determinant
            if math.hypot(x, y) < _REACH_PX:
                meeting[end, 0] += x
                meeting[end, 1] += y
    return meeting


@compiled
def _assemble(
    walls: Walls, lines: Lines, strands: _Strands, feet: NDArray[np.float64], failed: NDArray[np.bool_]
) -> Plan:
    meeting = _meet_amid(walls, lines, strands)
    corners, offsets = [(0.0, 0.0) for _ in range(0)], np.zeros(len(walls.group) + 1, np.int64)
    on_edge = [(0, 0) for _ in range(0)]
    for wall in range(len(walls.group)):
        if walls.ends[wall, 0] >= 0:
            for side in range(2):
                end = walls.ends[wall, side]
                if side == 1:
                    for piece in range(lines.offsets[wall] + 1, lines.offsets[wall + 1]):
                        corners.extend(_bend(lines, strands, piece))
                if not walls.on_outline[end]:
                    corners.append((meeting[end, 0], meeting[end, 1]))
                    continue
                corners.append((feet[wall, side, 0], feet[wall, side, 1]))
                if feet[wall, side, 2] >= 0:
                    on_edge.append((wall, side))
        offsets[wall + 1] = len(corners)
    foot_edge, foot_share = np.empty(len(on_edge), np.int64), np.empty(len(on_edge))
    foot = np.empty((len(on_edge), 2))
    for number in range(len(on_edge)):
        wall, side = on_edge[number]
        foot[number, 0], foot[number, 1] = feet[wall, side, 0], feet[wall, side, 1]
        foot_edge[number], foot_share[number] = int(feet[wall, side, 2]), feet[wall, side, 3]
    return Plan(pairs(corners), offsets, foot_edge, foot_share, foot, failed)


@compiled
def _bend(lines: Lines, strands: _Strands, piece: int) -> list[tuple[float, float]]:
    """Give the corner between a piece of a wall and the one before it, or the two of a step."""
    one, other = strands.of[piece - 1], strands.of[piece]
    x, y = _place(lines.starts, piece)
    off_one = off_line(x, y, strands.points[one, 0], strands.points[one, 1], strands.angles[one])
    off_other = off_line(x, y, strands.points[other, 0], strands.points[other, 1], strands.angles[other])
    sin_one, cos_one = math.sin(strands.angles[one]), math.cos(strands.angles[one])
    sin_other, cos_other = math.sin(strands.angles[other]), math.cos(strands.angles[other])
    turn = cos_one * sin_other - sin_one * cos_other
    if abs(turn) < _PARALLEL:
        return [
            (x + off_one * sin_one, y - off_one * cos_one),
            (x + off_other * sin_other, y - off_other * cos_other),
        ]
    along_x = (off_other * cos_one - off_one * cos_other) / turn
    along_y = (off_other * sin_one - off_one * sin_other) / turn
    return [(x + along_x, y + along_y)]
