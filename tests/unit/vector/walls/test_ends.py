import math

import numpy as np
import pytest
import shapely

from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.arcs import Walls, find_walls
from buildmap.vector.walls.ends import Plan, plan_walls
from buildmap.vector.walls.lines import Lines, draw_lines
from tests.unit.vector.walls.test_feet import outline_of


def walls_in(labels: np.ndarray) -> tuple[Walls, shapely.Polygon]:
    houses, _ = label_outlines(labels.astype(np.int32), left=0, top=0)
    walls, _ = find_walls(to_ragged(houses), np.zeros(len(houses), np.int64))
    return walls, shapely.union_all(houses)


def planned(labels: np.ndarray, facing: float = 0.0) -> tuple[Plan, Walls]:
    walls, union = walls_in(labels)
    lines = draw_lines(walls.points, walls.offsets, np.full((len(walls.group), 1), facing))
    return plan_walls(walls, lines, outline_of(shapely.simplify(union, 0))), walls


def polylines(plan: Plan) -> list[list[list[float]]]:
    return [plan.corners[a:b].tolist() for a, b in zip(plan.offsets[:-1], plan.offsets[1:], strict=True)]


def test_a_wall_runs_straight_from_outline_to_outline() -> None:
    labels = np.ones((20, 30), np.int32)
    labels[:, 15:] = 2
    labels[8:12, 15] = 1  # a bulge
    plan, _ = planned(labels)
    ((start, end),) = polylines(plan)
    assert sorted([start[1], end[1]]) == [0, 20]
    assert start[0] == pytest.approx(end[0])
    assert 15 <= start[0] < 15.5
    assert sorted(plan.foot.tolist()) == sorted([start, end])


def test_a_foot_lies_on_its_edge() -> None:
    labels = np.ones((20, 30), np.int32)
    labels[:, 15:] = 2
    plan, _ = planned(labels)
    _, union = walls_in(labels)
    edges = outline_of(shapely.simplify(union, 0)).edges
    assert len(plan.foot) == 2
    for foot, edge, share in zip(plan.foot, plan.foot_edge, plan.foot_share, strict=True):
        assert (edges[edge, :2] + share * (edges[edge, 2:] - edges[edge, :2])).tolist() == foot.tolist()


def test_walls_that_continue_each_other_become_one_line() -> None:
    labels = np.full((40, 40), 2, np.int32)
    labels[:20, :20] = 1
    labels[20:, :19] = 3  # a pixel less wide
    plan, walls = planned(labels)
    assert (~walls.on_outline).sum() == 1
    upright = [line for line in polylines(plan) if abs(line[0][0] - line[-1][0]) < 1]
    places = {round(x, 2) for line in upright for x, _ in line}
    assert len(places) == 1
    assert 19 <= places.pop() <= 20


def test_three_walls_meet_in_one_point_on_all_their_lines() -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:20, 20:] = 2
    labels[20:] = 3
    plan, walls = planned(labels)
    inner = int(np.flatnonzero(~walls.on_outline)[0])
    ends = [
        line[side]
        for wall, line in enumerate(polylines(plan))
        for side in (0, -1)
        if walls.ends[wall, side] == inner
    ]
    assert len(ends) == 3
    assert ends == [ends[0]] * 3
    assert ends[0] == pytest.approx([20, 20], abs=0.01)


def test_a_wall_turns_where_its_own_lines_meet() -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:20, 20:] = 2
    plan, _ = planned(labels)
    (line,) = polylines(plan)
    assert len(line) == 3
    assert line[1] == pytest.approx([20, 20], abs=0.05)


def test_a_step_between_parallel_lines_has_two_corners() -> None:
    walls, union = walls_in(np.repeat(np.array([[1, 2]], np.int32), 20, axis=1).repeat(30, axis=0))
    lines = Lines(
        offsets=np.array([0, 2]),
        points=np.array([[18.0, 7.0], [23.0, 22.0]]),
        angles=np.full(2, math.pi / 2),
        samples=np.array([15, 15]),
        starts=np.array([[20.0, 0.0], [20.0, 15.0]]),
    )
    (line,) = polylines(plan_walls(walls, lines, outline_of(shapely.simplify(union, 0))))
    assert np.array(line) == pytest.approx(np.array([[18, 0], [18, 15], [23, 15], [23, 30]]))


def test_a_wall_near_a_corner_is_moved_onto_it_and_stays_upright() -> None:
    labels = np.zeros((50, 40), np.int32)
    labels[5:45, :20] = 1
    labels[:50, 20:] = 2
    walls, union = walls_in(labels)
    lines = draw_lines(walls.points - [1, 0], walls.offsets, np.zeros((1, 1)))
    (line,) = polylines(plan_walls(walls, lines, outline_of(shapely.simplify(union, 0))))
    assert sorted(line) == [[20, 5], [20, 45]]


def test_a_wall_without_outline_near_its_end_fails_its_group() -> None:
    labels = np.ones((20, 30), np.int32)
    labels[:, 15:] = 2
    walls, _ = walls_in(labels)
    lines = draw_lines(walls.points, walls.offsets, np.zeros((1, 1)))
    assert plan_walls(walls, lines, outline_of(shapely.box(0, 0, 30, 40))).failed.tolist() == [True]
    assert plan_walls(walls, lines, outline_of(shapely.box(0, 0, 30, 23))).failed.tolist() == [False]
