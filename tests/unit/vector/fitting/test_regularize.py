import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from shapely import affinity
from shapely.geometry import Point, Polygon, box, shape

from buildmap.vector.fitting.regularize import Fitted, regularize, simplified


def traced(mask: NDArray[np.bool_]) -> NDArray[np.object_]:
    rings = shapes(mask.astype(np.uint8), mask=mask)
    return np.array([shape(ring) for ring, _ in rings], object)


def scene(seed: int, side: int = 160) -> NDArray[np.object_]:
    """Trace houses, a yard, a tank and blobs, with rough edges."""
    rng = np.random.default_rng(seed)
    centres = np.arange(side) + 0.5
    cols, rows = np.meshgrid(centres, centres)
    buildings = [
        affinity.rotate(box(10, 10, 60, 40), rng.uniform(0, 90)),
        affinity.rotate(box(90, 20, 140, 60) - box(105, 30, 125, 50), rng.uniform(0, 90)),
        Point(40, 110).buffer(rng.uniform(6, 25)),
        affinity.rotate(box(90, 90, 140, 140) - box(110, 110, 150, 150), rng.uniform(0, 90)),
    ]
    solid = np.any([shapely.contains_xy(building, cols, rows) for building in buildings], axis=0)
    soft = ndimage.gaussian_filter(solid.astype(float), 1.9)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, solid.shape), 2) * 4 * soft * (1 - soft)
    return traced(soft + noise > 0.5)


def moved(polygons: NDArray[np.object_], x: int, y: int) -> NDArray[np.object_]:
    return np.asarray(shapely.transform(polygons, lambda corners: corners + np.array([x, y])))


def everything(fitted: Fitted) -> list[tuple[bytes, str, float, float]]:
    columns = fitted.polygons, fitted.method, fitted.iou_raw, fitted.max_shift
    return [(shapely.to_wkb(polygon), *rest) for polygon, *rest in zip(*columns, strict=True)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_footprints_are_valid_and_near_their_outlines(seed: int) -> None:
    raw = scene(seed)
    fitted = regularize(raw)
    assert shapely.is_valid(fitted.polygons).all()
    assert set(fitted.method) <= {"adaptive", "circle", "simplify", "raw"}
    for polygon, outline, iou, shift in zip(
        fitted.polygons, raw, fitted.iou_raw, fitted.max_shift, strict=True
    ):
        assert iou == pytest.approx(
            polygon.intersection(outline).area / polygon.union(outline).area, abs=1e-6
        )
        there = shapely.distance(outline.boundary, shapely.points(shapely.get_coordinates(polygon))).max()
        back = shapely.distance(polygon.boundary, shapely.points(shapely.get_coordinates(outline))).max()
        assert shift == pytest.approx(max(there, back), abs=1e-6)
        assert iou >= 0.75
        assert shift <= 9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(-(2**20), 2**20), st.integers(-(2**20), 2**20))
def test_the_place_does_not_matter_to_the_last_bit(seed: int, x: int, y: int) -> None:
    raw = scene(seed)
    here = regularize(raw)
    there = regularize(moved(raw, x, y))
    back = moved(there.polygons, -x, -y)
    assert [shapely.to_wkb(polygon) for polygon in back] == [shapely.to_wkb(p) for p in here.polygons]
    assert there.method.tolist() == here.method.tolist()


def test_the_order_and_the_batch_do_not_matter() -> None:
    raw = np.concatenate([scene(seed) for seed in range(3)])
    together = everything(regularize(raw))
    assert everything(regularize(raw[::-1]))[::-1] == together
    assert [everything(regularize(raw[[number]]))[0] for number in range(len(raw))] == together


def test_rough_houses_get_their_corners_back() -> None:
    fitted = regularize(scene(4))
    largest = np.argsort(shapely.area(fitted.polygons))[-4:]
    corners = sorted((shapely.get_num_coordinates(fitted.polygons[largest]) - 1).tolist())
    assert corners[:2] == [4, 6]
    assert 9 in corners
    assert sorted(fitted.method[largest]) == ["adaptive", "adaptive", "adaptive", "circle"]


def test_what_nothing_straight_fits_is_simplified() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 60 + 18 * np.sin(3 * angle) + 9 * np.sin(7 * angle + 1) + 5 * np.cos(11 * angle)
    lake = Polygon(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + 100)
    fitted = regularize(np.array([lake]))
    assert fitted.method.tolist() == ["simplify"]
    assert fitted.polygons[0].equals(lake.simplify(2))
    assert 0.95 < fitted.iou_raw[0] < 1


def test_what_cannot_even_be_simplified_stays_as_it_is() -> None:
    pixel = box(3, 4, 4, 5)
    comb = traced(
        np.kron(np.array([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1]], bool), np.ones((3, 1), bool))
    )
    fitted = regularize(np.array([pixel, comb[0]]))
    assert fitted.polygons[0].equals(pixel)
    assert fitted.iou_raw[0] == 1
    assert fitted.iou_raw[1] >= 0.75


def test_a_long_arm_is_not_cut_off() -> None:
    armed = traced(np.pad(np.ones((40, 40), bool), ((2, 2), (2, 42))))
    arm = box(42, 20, 80, 22).union(armed[0])
    fitted = regularize(np.array([arm]))
    assert fitted.max_shift[0] <= 9
    assert fitted.polygons[0].bounds[2] > 71


def test_a_huge_outline_is_simplified() -> None:
    fitted = regularize(np.array([box(0, 0, 9000, 9000), box(0, 0, 90, 90)]))
    assert fitted.method.tolist() == ["simplify", "adaptive"]


def test_simplification_drops_corners_within_the_tolerance() -> None:
    raw = scene(1)
    for tolerance in (0.8, 2.0):
        fitted = simplified(raw, np.full(len(raw), tolerance))
        changed = fitted.method == "simplify"
        assert changed.all()
        expected = shapely.simplify(raw, tolerance)
        assert shapely.equals_exact(fitted.polygons, expected).all()
        assert fitted.max_shift.max() <= tolerance + 1e-9


def test_simplification_that_goes_too_far_is_taken_back_step_by_step() -> None:
    house, wings = affinity.rotate(box(0, 0, 30, 20), 20), box(0, 0, 40, 30) - box(6, 8, 34, 30)
    fitted = simplified(np.array([house, wings, house]), np.array([200.0, 40.0, 1.0]))
    assert fitted.method.tolist() == ["raw", "simplify", "simplify"]
    assert fitted.polygons[0] is house
    assert (fitted.iou_raw[0], fitted.max_shift[0]) == (1, 0)
    assert fitted.polygons[1].equals(shapely.simplify(wings, 20))  # at 40 it is a triangle
    assert fitted.polygons[2].equals_exact(house, 1e-9)


def test_no_footprints_are_no_trouble() -> None:
    nothing = np.empty(0, object)
    for fitted in (regularize(nothing), simplified(nothing, np.ones(0))):
        assert [
            len(column) for column in (fitted.polygons, fitted.method, fitted.iou_raw, fitted.max_shift)
        ] == [0] * 4


def test_what_is_given_stays_as_it_was() -> None:
    raw = scene(2)
    before = [shapely.to_wkb(polygon) for polygon in raw]
    regularize(raw)
    assert [shapely.to_wkb(polygon) for polygon in raw] == before
