import numpy as np
import shapely

from buildmap.vector.walls.overlaps import RAW, SIMPLE, Fits, share_ground


def settled(fitted: list[shapely.Polygon], raw: list[shapely.Polygon], *, in_pixels: bool = True) -> Fits:
    """Settle footprints each of which is a component of its own."""
    polygons, outlines = np.array(fitted, object), np.array(raw, object)
    number = np.arange(len(polygons))
    fits = Fits(polygons, outlines, number, np.zeros(len(polygons), np.int64), in_pixels=in_pixels)
    one, other = np.triu_indices(len(polygons), 1)
    fits.settle(one, other)
    return fits


def test_ground_in_common_is_more_than_an_edge() -> None:
    house = np.array([shapely.box(0, 0, 10, 10)] * 3, object)
    others = np.array(
        [shapely.box(10, 0, 20, 10), shapely.box(9.99, 0, 20, 10), shapely.box(30, 0, 40, 10)], object
    )
    assert share_ground(house, others).tolist() == [False, True, False]


def test_a_fit_can_be_cut_by_several_neighbours_but_not_by_ever_more() -> None:
    raw = [shapely.box(20 * place, 20, 20 * place + 18, 40) for place in range(5)]
    wide = shapely.box(-10, 0, 110, 21), shapely.box(-10, 0, 110, 20)
    three = settled([wide[0], *raw[:3]], [wide[1], *raw[:3]])
    assert three.step.tolist() == [3, 0, 0, 0]
    assert three.polygons[0].equals(wide[0] - shapely.union_all(raw[:3]))
    five = settled([wide[0], *raw], [wide[1], *raw])
    assert five.step.tolist() == [SIMPLE, 0, 0, 0, 0, 0]
    assert five.polygons[0].equals(wide[1])


def test_what_is_no_polygon_or_too_far_off_once_cut_is_simplified() -> None:
    bar = shapely.box(0, 0, 40, 10), shapely.box(0, 0, 40, 10)
    through = shapely.box(19.2, -5, 20.8, 15), shapely.box(19.2, 11, 20.8, 15)
    fits = settled([bar[0], through[0]], [bar[1], through[1]])
    assert fits.step.tolist() == [0, SIMPLE]
    assert fits.polygons[1].equals(through[1])


def test_what_went_back_to_its_outline_moves_no_more_and_its_neighbour_does() -> None:
    fitted = [shapely.box(0, 0, 20, 10), shapely.box(8, 0, 30, 10)]
    raw = [shapely.box(0, 0, 10, 10), shapely.box(10, 0, 30, 10)]
    fits = settled(fitted, raw, in_pixels=False)
    assert fits.step.tolist() == [RAW, RAW]
    assert fits.polygons.tolist() == raw


def test_fits_apart_are_the_objects_given() -> None:
    fitted = [shapely.box(0, 0, 9, 10), shapely.box(10, 0, 30, 10)]
    fits = settled(fitted, fitted)
    assert all(one is other for one, other in zip(fits.polygons, fitted, strict=True))
    assert fits.step.tolist() == [0, 0]
