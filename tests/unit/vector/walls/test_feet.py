import math

import numpy as np
import pytest
import shapely

from buildmap.vector.walls.arcs import Walls
from buildmap.vector.walls.feet import CORNER, Outline, facades, foot_of


def outline_of(*polygons: shapely.Polygon) -> Outline:
    edges, offsets = [], [0]
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.interiors):
            corners = np.array(ring.coords)
            edges.append(np.column_stack([corners[:-1], corners[1:]]))
        offsets.append(sum(map(len, edges)))
    return Outline(np.concatenate(edges), np.array(offsets))


HOUSE = shapely.box(0, 0, 40, 20)
STEPPED = shapely.Polygon([(0, 0), (40, 0), (40, 22), (20, 22), (20, 20), (0, 20)])


def foot(
    polygon: shapely.Polygon, point: tuple[float, float], angle: float, junction: tuple[float, float]
) -> tuple[float, float, float, float]:
    outwards = (junction[0] - point[0], junction[1] - point[1])
    return foot_of(outline_of(polygon), 0, np.array(point), angle, junction, outwards)


@pytest.mark.parametrize("angle", [1.2, 1.6, 1.9])
def test_a_wall_ends_where_its_line_crosses_the_outline(angle: float) -> None:
    end = (18.0 + 10 / math.tan(angle), 21.0)
    x, y, edge, share = foot(HOUSE, (18.0, 10.0), angle, end)
    reach = np.array([math.cos(angle), math.sin(angle)]) * 15
    ray = shapely.LineString([(18, 10), (18 + reach[0], 10 + reach[1])])
    expected = shapely.intersection(ray, HOUSE.exterior)
    assert (x, y) == pytest.approx((expected.x, expected.y))
    start, stop = np.split(outline_of(HOUSE).edges[int(edge)], 2)
    assert (start + share * (stop - start)).tolist() == pytest.approx([x, y])


def test_of_two_crossings_it_is_the_one_near_its_end() -> None:
    assert foot(HOUSE, (18.0, 10.0), math.pi / 2, (18.0, 1.0))[1] == 0
    assert foot(HOUSE, (18.0, 10.0), math.pi / 2, (18.0, 19.0))[1] == 20


def test_a_wall_near_a_corner_of_the_outline_ends_in_it() -> None:
    x, y, edge, _ = foot(HOUSE, (39.0, 10.0), math.pi / 2, (39.0, 20.0))
    assert (x, y, edge) == (40, 20, CORNER)


@pytest.mark.parametrize("x", [19.0, 21.0])
def test_at_a_step_a_wall_ends_in_the_inner_corner(x: float) -> None:
    assert foot(STEPPED, (x, 10.0), math.pi / 2, (x, 21.0))[:3] == (20, 20, CORNER)


def test_a_line_that_misses_the_outline_ends_where_it_is_nearest() -> None:
    x, y, edge, share = foot(HOUSE, (18.0, 15.0), 0.0, (18.0, 18.0))
    assert (x, y) == (18, 20)
    assert edge != CORNER
    assert 0 < share < 1


def test_far_from_any_outline_a_wall_ends_nowhere() -> None:
    assert math.isnan(foot(HOUSE, (18.0, 10.0), 0.0, (18.0, 10.0))[0])


def test_only_the_outline_of_its_group_ends_a_wall() -> None:
    outline = outline_of(shapely.box(0, 0, 40, 19), HOUSE)
    ends = [
        foot_of(outline, group, np.array([18.0, 10.0]), math.pi / 2, (18.0, 20.0), (0.0, 1.0))[1]
        for group in (0, 1)
    ]
    assert ends == [19, 20]


def test_a_wall_may_face_as_the_facades_it_stands_on_and_as_its_group() -> None:
    askew = shapely.Polygon([(0, 0), (40, 0), (40, 30), (0, 20)])
    walls = Walls(
        points=np.array([[20.0, 0.0], [20.0, 25.0]]),
        offsets=np.array([0, 2]),
        ends=np.array([[0, 1]]),
        group=np.array([0]),
        junctions=np.array([[20.0, 0.0], [20.0, 25.0]]),
        on_outline=np.array([True, True]),
    )
    facing = facades(walls, outline_of(askew), np.array([0.1]))
    assert facing[0, 0] == 0.1
    assert math.tan(facing[0, 1]) == pytest.approx(0, abs=1e-12)
    assert math.tan(facing[0, 2]) == pytest.approx(0.25)
    inside = walls._replace(on_outline=np.array([True, False]))
    assert math.isnan(facades(inside, outline_of(askew), np.array([0.1]))[0, 2])
