import numpy as np
import shapely

from buildmap.vector.walls.sound import is_near, is_polygon, is_sound


def test_polygons_that_share_their_vertices_are_sound_and_others_are_not() -> None:
    left, right = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)
    low = shapely.box(10, 0, 20, 5)
    assert is_sound(np.array([left, right]))
    assert not is_sound(np.array([left, low]))  # no vertex where the wall of the other ends
    assert not is_sound(np.array([left, shapely.box(9, 0, 20, 10)]))
    assert not is_sound(np.array([left, shapely.MultiPolygon([right])]))


def test_only_valid_polygons_that_are_not_empty_count() -> None:
    bow_tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    shapes = np.array(
        [shapely.box(0, 0, 1, 1), bow_tie, shapely.Polygon(), None, shapely.Point(0, 0)], object
    )
    assert is_polygon(shapes).tolist() == [True, False, False, False, False]


def test_near_is_an_iou_of_four_fifths_or_walls_that_moved_less_than_a_pixel() -> None:
    raw = np.array([shapely.box(0, 0, 100, 100)] * 2 + [shapely.box(0, 0, 6, 6)] * 2)
    drawn = np.array(
        [
            shapely.box(0, 0, 100, 81),
            shapely.box(0, 0, 100, 79),
            shapely.box(0, 0, 6, 4.5),
            shapely.box(0, 0, 6, 3),
        ]
    )
    iou = shapely.area(drawn) / shapely.area(raw)
    assert is_near(drawn, raw, iou).tolist() == [True, False, True, False]
