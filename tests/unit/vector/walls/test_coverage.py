import math

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from buildmap.vector.matching import overlaps_within
from buildmap.vector.store import PolygonStore
from buildmap.vector.tracing.label_outlines import label_outlines
from buildmap.vector.walls.coverage import Fit, GroupFit, fit_groups


def fit_group(polygons: NDArray[np.object_], fit: Fit) -> GroupFit:
    return fit_groups(polygons, np.zeros(len(polygons), np.int64), fit)


def fit(outlines: np.ndarray) -> np.ndarray:
    """Keep the corners that stand out by 3 pixels."""
    return np.asarray(shapely.simplify(outlines, 3.0))


def row_of_houses(angle_deg: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a row of houses of 24 x 36 pixels, turned, as pixels show it; and as it is."""
    angle, side = math.radians(angle_deg), 36 * (count + 2)
    rows, cols = np.mgrid[:side, :side] + 0.5 - side / 2
    across = cols * math.cos(angle) + rows * math.sin(angle)
    along = rows * math.cos(angle) - cols * math.sin(angle)
    labels = np.floor(across / 24 + count / 2).astype(np.int32) + 1
    labels[(labels < 1) | (labels > count) | (np.abs(along) > 18)] = 0
    houses, _ = label_outlines(labels, left=0, top=0)
    corners = np.array([[0, 0], [24, 0], [24, 36], [0, 36]]) - [12 * count, 18]
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    true = [
        shapely.Polygon((corners + np.array([24 * number, 0])) @ turn + side / 2) for number in range(count)
    ]
    order = [int(np.argmax(shapely.area(shapely.intersection(house, np.array(true))))) for house in houses]
    return houses, np.array(true, dtype=object)[order]


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return shapely.area(shapely.intersection(one, other)) / shapely.area(shapely.union(one, other))


def is_whole(fitted: GroupFit) -> bool:
    """Tell whether there is neither overlap nor gap, nor anything invalid."""
    polygons = fitted.polygons
    overlaps = overlaps_within(PolygonStore.gather([polygons]))
    apart = len(overlaps.shared) == 0 or overlaps.shared.max() < 1e-9
    return bool(apart and shapely.is_valid(polygons).all() and shapely.coverage_is_valid(polygons))


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 70])
def test_a_row_of_houses_becomes_rectangles_that_share_their_walls(angle_deg: float) -> None:
    houses, true = row_of_houses(angle_deg, 4)
    fitted = fit_group(houses, fit)
    assert fitted.method.tolist() == ["coverage"] * 4
    assert is_whole(fitted)
    assert (shapely.get_num_coordinates(shapely.simplify(fitted.polygons, 0.05)) == 5).all()
    assert (iou(fitted.polygons, true) > 0.88).all()
    walls = shapely.intersection(fitted.polygons[:, None], fitted.polygons)
    assert (shapely.length(walls[shapely.get_dimensions(walls) == 1]) > 33).sum() == 6


def test_figures_say_how_far_a_house_was_moved() -> None:
    houses, _ = row_of_houses(17, 3)
    fitted = fit_group(houses, fit)
    assert fitted.iou_raw == pytest.approx(iou(fitted.polygons, houses))
    shifts = shapely.hausdorff_distance(shapely.boundary(fitted.polygons), shapely.boundary(houses))
    assert fitted.max_shift == pytest.approx(shifts)


def test_a_group_comes_out_the_same_elsewhere_and_in_any_company() -> None:
    houses, _ = row_of_houses(17, 3)
    others, _ = row_of_houses(45, 2)
    alone = fit_group(houses, fit).polygons
    moved = shapely.transform(houses, lambda xy: xy + np.array([123_456, 654_321]))
    back = shapely.transform(fit_group(moved, fit).polygons, lambda xy: xy - [123_456, 654_321])
    assert shapely.to_wkb(back).tolist() == shapely.to_wkb(alone).tolist()
    far = shapely.transform(others, lambda xy: xy + 1000)
    mixed = np.array([houses[0], far[0], houses[1], far[1], houses[2]], dtype=object)
    together = fit_groups(mixed, np.array([9, 4, 9, 4, 9]), fit)
    assert shapely.to_wkb(together.polygons[[0, 2, 4]]).tolist() == shapely.to_wkb(alone).tolist()
    assert together.method.tolist() == ["coverage"] * 5


def test_outlines_are_fitted_once_for_all_groups() -> None:
    houses, _ = row_of_houses(17, 2)
    calls = []

    def counted(outlines: np.ndarray) -> np.ndarray:
        calls.append(len(outlines))
        return fit(outlines)

    both = np.concatenate([houses, shapely.transform(houses, lambda xy: xy + 500)])
    fit_groups(both, np.array([0, 0, 1, 1]), counted)
    assert calls == [2]


def test_a_courtyard_stays_open_and_a_house_amid_another_stays_in_it() -> None:
    labels = np.ones((90, 90), np.int32)
    labels[:, 45:] = 2
    labels[30:60, 30:60] = 0
    labels[70:82, 10:22] = 3
    houses, _ = label_outlines(labels, left=0, top=0)
    fitted = fit_group(houses, fit)
    assert fitted.method.tolist() == ["coverage"] * 3
    assert is_whole(fitted)
    assert (fitted.iou_raw > 0.98).all()
    assert shapely.union_all(fitted.polygons).interiors[0].length == pytest.approx(120)


def test_houses_of_free_shape_that_meet_amid_a_wall_are_fitted() -> None:
    corners = [[(0, 0), (30.5, 1), (30.5, 20), (0, 20)], [(0, 20), (12.25, 20), (12.25, 45), (0, 45)]]
    corners.append([(12.25, 20), (30.5, 20), (30.5, 45), (12.25, 45)])
    houses = np.array([shapely.Polygon(ring) for ring in corners], dtype=object)
    assert not shapely.coverage_is_valid(houses)
    fitted = fit_group(houses, fit)
    assert fitted.method.tolist() == ["coverage"] * 3
    assert is_whole(fitted)
    assert (fitted.iou_raw > 0.97).all()


def test_a_group_whose_outline_is_lost_is_simplified_along_its_walls() -> None:
    houses, _ = row_of_houses(17, 4)

    def blunder(outlines: np.ndarray) -> np.ndarray:
        return shapely.buffer(outlines, -15)

    fitted = fit_group(houses, blunder)
    assert fitted.method.tolist() == ["simplify"] * 4
    assert is_whole(fitted)
    assert (fitted.iou_raw > 0.9).all()
    assert shapely.get_num_coordinates(fitted.polygons).sum() < shapely.get_num_coordinates(houses).sum() / 3


def test_a_house_that_would_change_too_much_is_simplified_and_its_neighbour_is_fitted() -> None:
    labels = np.ones((60, 54), np.int32)
    labels[:, 40:] = 2
    labels[10:14, 38:40] = 2
    houses, _ = label_outlines(labels, left=0, top=0)
    cut = shapely.box(0, 0, 47, 60)

    def half_lost(outlines: np.ndarray) -> np.ndarray:
        return np.array([cut] * len(outlines), dtype=object)

    fitted = fit_group(houses, half_lost)
    assert fitted.method.tolist() == ["coverage", "simplify"]
    assert is_whole(fitted)
    assert fitted.polygons[0].bounds == (0, 0, 40, 60)
    assert fitted.polygons[1].equals(shapely.box(40, 0, 54, 60))
    assert fitted.iou_raw == pytest.approx(iou(fitted.polygons, houses))


def test_a_house_lost_in_its_row_is_fitted_by_itself_and_the_row_comes_out_whole() -> None:
    labels = np.zeros((60, 130), np.int32)
    labels[:40, :60] = 1
    labels[:40, 60:120] = 2
    labels[14:26, 120:] = 3
    houses, _ = label_outlines(labels, left=0, top=0)

    def without_annexes(outlines: np.ndarray) -> np.ndarray:
        """Make what is wider than 120 pixels end there."""
        wide = np.ptp(shapely.bounds(outlines)[:, [0, 2]], axis=1) > 120
        return np.where(wide, shapely.intersection(outlines, shapely.box(0, 0, 120, 60)), outlines)

    fitted = fit_group(houses, without_annexes)
    assert fitted.method.tolist() == ["coverage"] * 3
    assert is_whole(fitted)
    assert fitted.iou_raw[:2] == pytest.approx([1, 1])
    assert fitted.iou_raw[2] > 0.85


def test_a_group_none_of_which_can_be_fitted_is_simplified_as_one() -> None:
    houses, _ = row_of_houses(17, 4)
    fitted = fit_group(houses, lambda outlines: shapely.buffer(outlines, -15))
    noded = shapely.coverage_simplify(houses, 3.0)
    assert (iou(fitted.polygons, noded) > 0.99).all()


def test_houses_that_overlap_stay_as_they_are() -> None:
    houses = np.array([shapely.box(0, 0, 20.5, 20), shapely.box(15, 0, 40, 20)], dtype=object)
    fitted = fit_group(houses, fit)
    assert fitted.method.tolist() == ["raw"] * 2
    assert (fitted.polygons == houses).all()
    assert fitted.iou_raw == pytest.approx([1, 1])
    assert fitted.max_shift.tolist() == [0, 0]


def test_no_houses_are_no_groups() -> None:
    fitted = fit_groups(np.empty(0, dtype=object), np.empty(0, np.int64), fit)
    assert len(fitted.polygons) == len(fitted.method) == len(fitted.iou_raw) == len(fitted.max_shift) == 0


def test_a_groove_between_two_houses_is_closed() -> None:
    labels = np.ones((40, 62), np.int32)
    labels[:, 31:] = 2
    labels[:25, 29:33] = 0
    fitted = fit_group(label_outlines(labels, left=0, top=0)[0], fit)
    assert fitted.method.tolist() == ["coverage"] * 2
    assert shapely.union_all(fitted.polygons).area == 40 * 62
    assert ndimage.label(labels > 0)[1] == 1
