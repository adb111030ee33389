import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.arcs import Walls, find_walls, without_short
from tests.unit.vector.walls.test_touching import parts_of


def walls_between(labels: list[list[int]]) -> Walls:
    houses, _ = label_outlines(np.array(labels, np.int32), left=0, top=0)
    walls, tangled = find_walls(to_ragged(houses), np.zeros(len(houses), np.int64))
    assert tangled.tolist() == [False]
    return walls


def test_two_houses_share_one_wall_that_ends_on_the_outline() -> None:
    walls = walls_between([[1, 2], [1, 2]])
    assert walls.points.tolist() == [[1, 0], [1, 2]]
    assert walls.ends.tolist() == [[0, 1]]
    assert walls.junctions.tolist() == [[1, 0], [1, 2]]
    assert walls.on_outline.all()


def test_a_wall_keeps_its_corners_between_its_ends() -> None:
    walls = walls_between([[1, 2, 2], [1, 1, 2]])
    assert walls.points.tolist() == [[1, 0], [1, 1], [2, 1], [2, 2]]


def test_three_walls_meet_at_a_junction_off_the_outline() -> None:
    walls = walls_between([[1, 1, 2, 2], [3, 3, 3, 3]])
    assert len(walls.group) == 3
    assert walls.junctions[~walls.on_outline].tolist() == [[2, 1]]
    inner = np.flatnonzero(~walls.on_outline)[0]
    assert (walls.ends == inner).any(axis=1).all()


def test_a_house_amid_another_has_a_wall_that_closes_in_a_ring() -> None:
    walls = walls_between([[1, 1, 1], [1, 2, 1], [1, 1, 1]])
    assert walls.ends.tolist() == [[-1, -1]]
    assert walls.points[0].tolist() == walls.points[-1].tolist()
    assert len(walls.points) == 5
    assert len(walls.junctions) == 0


def test_a_wall_ends_on_a_courtyard_as_on_the_outline_around() -> None:
    walls = walls_between([[1, 1, 2], [1, 0, 2], [1, 1, 2]])
    assert walls.on_outline.all()
    assert sorted(walls.points.tolist()) == [[2, 0], [2, 1], [2, 2], [2, 3]]


def test_houses_of_different_groups_share_no_wall() -> None:
    houses = np.array([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)], dtype=object)
    walls, _ = find_walls(to_ragged(houses), np.array([0, 1]))
    assert len(walls.group) == 0


def test_the_walls_of_a_group_stand_together() -> None:
    houses = np.array([shapely.box(x, 0, x + 1, 1) for x in (0, 0, 1, 1, 2)], dtype=object)
    walls, tangled = find_walls(to_ragged(houses), np.array([1, 0, 0, 1, 0]))
    assert walls.group.tolist() == [0, 0, 1]
    assert walls.points[:, 0].tolist() == [1, 1, 2, 2, 1, 1]
    assert tangled.tolist() == [False, False]


@pytest.mark.parametrize("other", [shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (1, 0), (1, 1)])])
def test_houses_on_the_same_side_of_an_edge_are_tangled(other: shapely.Polygon) -> None:
    houses = shapely.orient_polygons(np.array([shapely.box(0, 0, 1, 1), other], dtype=object))
    _, tangled = find_walls(to_ragged(houses), np.array([0, 0]))
    assert tangled.tolist() == [True]


@settings(max_examples=60, deadline=None)
@given(values=arrays(np.int32, (6, 7), elements=st.integers(0, 3)))
def test_walls_are_what_outlines_have_twice(values: np.ndarray) -> None:
    labels = parts_of(values)
    houses, _ = label_outlines(labels, left=0, top=0)
    walls, tangled = find_walls(to_ragged(houses), np.zeros(len(houses), np.int64))
    assert not tangled.any()
    steps = np.abs(np.diff(walls.points, axis=0)).sum(axis=1)
    steps[walls.offsets[1:-1] - 1] = 0
    around = shapely.length(shapely.union_all(houses))
    assert steps.sum() == (shapely.length(houses).sum() - around) / 2
    for wall in range(len(walls.group)):
        line = walls.points[walls.offsets[wall] : walls.offsets[wall + 1]]
        if walls.ends[wall, 0] >= 0:
            assert walls.junctions[walls.ends[wall]].tolist() == [line[0].tolist(), line[-1].tolist()]


def test_two_junctions_side_by_side_become_one() -> None:
    labels = np.ones((12, 12), np.int32)
    labels[:6, 5:] = 2
    labels[6:, :7] = 3
    labels[6:, 7:] = 4
    houses, _ = label_outlines(labels, left=0, top=0)
    walls, _ = find_walls(to_ragged(houses), np.zeros(4, np.int64))
    assert len(walls.group) == 5
    joined = without_short(walls, 2.0)
    amid = joined.ends[~joined.on_outline[joined.ends]]
    assert len(joined.group) == len(amid) == 4
    assert len(set(amid.tolist())) == 1
    lengths = np.abs(np.diff(joined.points, axis=0)).sum(axis=1)
    assert sorted(lengths[[0, 2, 4, 6]].tolist()) == [5, 5, 6, 6]
    assert len(without_short(walls, 1.9).group) == 5


def test_short_walls_at_the_outline_stay() -> None:
    walls = walls_between([[1, 2], [1, 2]])
    assert without_short(walls, 9.0).points.tolist() == walls.points.tolist()
