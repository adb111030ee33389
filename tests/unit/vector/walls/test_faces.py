import numpy as np
import pytest
import shapely

from buildmap.vector.walls.faces import fit_faces
from buildmap.vector.walls.sound import is_sound


def noded(*polygons: shapely.Polygon) -> np.ndarray:
    return np.array(polygons, object)


def as_is(outlines: np.ndarray) -> np.ndarray:
    return outlines


TWO = noded(shapely.box(0, 0, 20, 20), shapely.box(20, 0, 40, 20))
UNION = np.array([shapely.union_all(TWO)], object)
TOGETHER = np.zeros(2, np.int64)


def test_each_footprint_gets_what_the_lines_enclose_amid_it() -> None:
    found = fit_faces(TWO, TOGETHER, UNION, as_is)
    assert shapely.equals(found, TWO).all()


def test_what_the_outline_leaves_out_is_lost_and_the_other_is_not() -> None:
    found = fit_faces(TWO, TOGETHER, UNION, lambda _: np.array([shapely.box(0, 0, 27, 20)], object))
    assert found[0].equals(TWO[0]) and found[1] is None


def test_a_wall_that_came_to_nothing_loses_the_smaller_of_two() -> None:
    large, small = shapely.box(0, 0, 40, 40), shapely.box(40, 18, 46, 22)
    group = noded(
        shapely.Polygon([(0, 0), (40, 0), (40, 18), (40, 22), (40, 40), (0, 40)]),
        small,
    )
    union = np.array([shapely.union_all(group)], object)
    found = fit_faces(group, TOGETHER, union, lambda _: np.array([large], object))
    assert found[1] is None
    assert found[0] is not None and found[0].equals(large)


def test_lines_that_cross_are_cut_where_they_do() -> None:
    """The outline dips below the end of the wall amid the group."""
    labels = noded(
        shapely.Polygon([(0, 0), (20, 0), (20, 14), (0, 14)]),
        shapely.Polygon([(20, 0), (40, 0), (40, 14), (20, 14)]),
        shapely.Polygon([(0, 14), (20, 14), (40, 14), (40, 16), (0, 16)]),
    )
    union = np.array([shapely.union_all(labels)], object)
    dipped = shapely.Polygon([(0, 0), (40, 0), (40, 16), (26, 16), (20, 13), (14, 16), (0, 16)])
    found = fit_faces(labels, np.zeros(3, np.int64), union, lambda _: np.array([dipped], object))
    held = found[~shapely.is_missing(found)]
    assert len(held) >= 2 and is_sound(held)
    assert shapely.area(held[:2]) == pytest.approx([280, 280], rel=0.03)


def test_a_group_without_an_outline_is_lost_and_no_other() -> None:
    far = shapely.transform(TWO, lambda xy: xy + 100)
    unions = np.array([shapely.GeometryCollection(), UNION[0]], object)
    near_origin = np.concatenate([far, TWO])
    found = fit_faces(near_origin, np.array([0, 0, 1, 1]), unions, as_is)
    assert shapely.is_missing(found).tolist() == [True, True, False, False]
