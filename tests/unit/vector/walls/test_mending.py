import numpy as np
import pytest
import shapely

from buildmap.vector.walls.mending import mend, simplified
from buildmap.vector.walls.sound import is_sound

ROW = np.array([shapely.box(20 * place, 0, 20 * place + 20, 30) for place in range(4)], object)
NUMBER = np.zeros(4, np.int64)


def without(*lost: int) -> np.ndarray:
    found = ROW.copy()
    found[list(lost)] = None
    return found


def test_what_was_found_stays_and_nothing_is_fitted() -> None:
    calls: list[np.ndarray] = []
    found, is_simple = mend(ROW, ROW, NUMBER, lambda outlines: calls.append(outlines) or outlines)
    assert not calls
    assert (found == ROW).all() and not is_simple.any()


def test_the_rest_is_fitted_in_the_groups_it_still_forms_and_the_lost_one_by_itself() -> None:
    calls = []

    def fit(outlines: np.ndarray) -> np.ndarray:
        calls.append(shapely.bounds(outlines).tolist())
        return outlines

    found, is_simple = mend(without(1), ROW, NUMBER, fit)
    assert calls == [[[0, 0, 20, 30], [40, 0, 80, 30], [20, 0, 40, 30]]]
    assert shapely.equals(found, ROW).all() and not is_simple.any()


def test_one_that_no_fit_is_near_is_simplified_between_its_fitted_neighbours() -> None:
    def narrower(outlines: np.ndarray) -> np.ndarray:
        """Move the sides of single houses in, so far that too little is left of one that is 20 wide."""
        left, top, right, bottom = shapely.bounds(outlines).T
        single = right - left == 20
        return np.where(single, shapely.box(left + 6, top, right - 6, bottom), outlines)

    found, is_simple = mend(without(0), ROW, NUMBER, narrower)
    assert is_simple.tolist() == [True, False, False, False]
    assert is_sound(found)
    assert shapely.equals(found, ROW).all()


def test_a_group_that_comes_to_nothing_is_none_and_others_are_mended() -> None:
    number = np.array([0, 0, 1, 1])
    polygons = np.array([*ROW[:2], *shapely.transform(ROW[:2], lambda xy: xy * 2)], object)
    found = polygons.copy()
    found[[0, 2]] = None

    def none_of_the_small(outlines: np.ndarray) -> np.ndarray:
        small = shapely.area(outlines) <= 600
        return np.where(small, shapely.affinity.translate(shapely.box(0, 0, 9, 9), 70, 70), outlines)

    found, _ = mend(found, polygons, number, none_of_the_small)
    assert shapely.is_missing(found).tolist() == [True, True, False, False]
    assert shapely.equals(found[2:], polygons[2:]).all()


def test_groups_lose_small_corners_and_keep_their_walls() -> None:
    stairs = [(20 + (step // 2) % 2, 2.0 * ((step + 1) // 2)) for step in range(20)]
    left = shapely.Polygon([(0, 0), *stairs, (20, 30), (0, 30)])
    right = shapely.Polygon([(40, 0), *stairs, (20, 30), (40, 30)])
    drawn = simplified(np.array([left, right], object))
    assert is_sound(drawn)
    assert shapely.get_num_coordinates(drawn).max() < 10
    assert shapely.area(drawn).sum() == pytest.approx(1200)
