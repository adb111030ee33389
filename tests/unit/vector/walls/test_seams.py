import numpy as np
import shapely

from buildmap.vector.walls.seams import sew
from buildmap.vector.walls.sound import is_sound

RAW = np.array([shapely.box(0, 0, 20, 20), shapely.box(20, 0, 40, 20)], object)
RANK = np.array([1, 2])


def test_ground_that_two_cover_is_the_first_ones() -> None:
    shapes = np.array([shapely.box(0, 0, 22, 20), shapely.box(19, 0, 40, 20)], object)
    found = sew(shapes, RANK, RAW)
    assert is_sound(found)
    assert found[0].equals(shapes[0]) and found[1].equals(shapely.box(22, 0, 40, 20))
    found = sew(shapes, RANK[::-1], RAW)
    assert found[0].equals(shapely.box(0, 0, 19, 20)) and found[1].equals(shapes[1])


def test_ground_that_came_to_lie_between_two_is_the_second_ones() -> None:
    shapes = np.array([shapely.box(0, 0, 18, 20), shapely.box(21, 0, 40, 20)], object)
    found = sew(shapes, RANK, RAW)
    assert is_sound(found)
    assert found[0].equals(shapes[0]) and found[1].equals(shapely.box(18, 0, 40, 20))


def test_ground_that_neither_was_on_stays_open() -> None:
    court = shapely.box(0, 0, 60, 40) - shapely.box(10, 10, 50, 30)
    raw = np.array([court & shapely.box(0, 0, 30, 40), court & shapely.box(30, 0, 60, 40)], object)
    moved = np.array([raw[0], court & shapely.box(31, 0, 60, 40)], object)
    found = sew(moved, RANK, raw)
    assert is_sound(found)
    assert shapely.union_all(found).equals(court)


def test_what_others_leave_too_little_of_is_lost() -> None:
    shapes = np.array([shapely.box(0, 0, 32, 20), shapely.box(20, 0, 40, 20)], object)
    found = sew(shapes, RANK, RAW)
    assert found[0] is None and found[1] is None  # the first is far from what it was, too
    shapes[0] = shapely.box(0, 0, 24, 20)
    found = sew(shapes, RANK, np.array([RAW[0], shapely.box(20, 0, 30, 20)], object))
    assert found[0].equals(shapes[0]) and found[1] is None


def test_a_part_cut_off_becomes_the_neighbours() -> None:
    """A tower across the corner of a house: the tip beyond it cannot stay with the house."""
    house, tower = shapely.box(0, 0, 40, 20), shapely.box(30, 0, 36, 20)
    raw = np.array([shapely.box(0, 0, 30, 20), shapely.box(30, 0, 40, 20)], object)
    found = sew(np.array([house, tower], object), np.array([2, 1]), raw)
    assert is_sound(found)
    assert found[0].equals(raw[0]) and found[1].equals(raw[1])


def test_those_that_come_first_together_keep_their_walls() -> None:
    raw = np.array([*RAW, shapely.box(0, 20, 40, 30)], object)
    raw[2] = shapely.Polygon([(0, 20), (20, 20), (40, 20), (40, 30), (0, 30)])
    shapes = np.array(
        [shapely.box(0, 0, 21, 19), shapely.box(21, 0, 40, 19), shapely.box(0, 21, 40, 30)], object
    )
    found = sew(shapes, np.array([1, 1, 2]), raw)
    assert is_sound(found)
    assert found[0].equals(shapes[0]) and found[1].equals(shapes[1])
    assert found[2].equals(shapely.box(0, 19, 40, 30))
