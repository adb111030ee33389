import numpy as np
import shapely

from buildmap.vector.ragged import to_ragged
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.arcs import find_walls
from buildmap.vector.walls.linework import draw_groups, on_grain


def drawn(labels: np.ndarray, rings: np.ndarray) -> list[np.ndarray]:
    houses, _ = label_outlines(labels.astype(np.int32), left=0, top=0)
    walls, _ = find_walls(to_ragged(houses), np.zeros(len(houses), np.int64))
    outline = np.array([shapely.simplify(shapely.union_all(houses), 0)], dtype=object)
    return draw_groups(walls, outline, np.array([0]), rings, 1)


NO_RINGS = np.empty(0, dtype=object)


def test_what_is_on_the_grain_adds_up_with_whole_pixels_exactly() -> None:
    fine = on_grain(np.random.default_rng(1).uniform(-500, 500, 1000))
    assert np.array_equal((fine + 4_000_001.0) - 4_000_001.0, fine)
    assert np.abs(on_grain(np.array([1 / 3])) - 1 / 3).max() < 1e-5


def test_the_lines_of_a_row_of_houses_enclose_the_houses() -> None:
    labels = np.repeat(np.array([[1, 2, 3]]), 12, axis=1).repeat(20, axis=0)
    faces = shapely.get_parts(shapely.polygonize(drawn(labels, NO_RINGS)[0]))
    assert sorted(shapely.bounds(faces).tolist()) == [[0, 0, 12, 20], [12, 0, 24, 20], [24, 0, 36, 20]]
    assert shapely.coverage_is_valid(faces)


def test_lines_meet_at_their_ends_only() -> None:
    labels = np.ones((40, 40), np.int32)
    labels[:20, 20:] = 2
    labels[20:] = 3
    lines = drawn(labels, NO_RINGS)[0]
    one, other = shapely.STRtree(lines).query(lines, predicate="intersects")
    met = shapely.intersection(lines[one[one < other]], lines[other[one < other]])
    ends = {tuple(corner) for corner in shapely.get_coordinates(lines).tolist()}
    assert (shapely.get_type_id(met) == shapely.GeometryType.POINT).all()
    assert {(point.x, point.y) for point in met} <= ends


def test_a_ring_takes_the_place_of_a_wall_that_closes() -> None:
    labels = np.ones((30, 30), np.int32)
    labels[10:20, 10:20] = 2
    lines = drawn(labels, np.array([shapely.box(11, 11, 19, 19)], dtype=object))[0]
    faces = shapely.get_parts(shapely.polygonize(lines))
    assert sorted(shapely.area(faces).tolist()) == [64, 900 - 64]


def test_a_group_without_an_outline_has_no_lines() -> None:
    houses = np.array([shapely.box(x, y, x + 9, y + 9) for y in (0, 50) for x in (0, 9)], dtype=object)
    walls, _ = find_walls(to_ragged(shapely.orient_polygons(houses)), np.array([0, 0, 1, 1]))
    outline = np.array([shapely.box(0, 50, 18, 59)], dtype=object)
    found = draw_groups(walls, outline, np.array([1]), NO_RINGS, 2)
    assert [len(lines) for lines in found] == [0, 7]
