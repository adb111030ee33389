"""From exact outlines to footprints in pixels."""

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS
from scipy.ndimage import gaussian_filter

from buildmap.vector import drawing
from buildmap.vector.drawing import draw, pixel_sides_m
from buildmap.vector.drawn import Drawn
from buildmap.vector.outlining import Outlining
from buildmap.vector.tracing.bands import crop_band
from buildmap.vector.tracing.outlines import Outlines, OutlineTracer, join_outlines
from tests.scenes import ORIGIN, UTM

CRS_UTM = CRS.from_user_input(UTM)
RAW = Outlining(method="raw", min_area_m2=0, min_hole_m2=0)


def traced(values: np.ndarray, lowest: int = 127) -> Outlines:
    tracer = OutlineTracer(values.shape[1], lowest=lowest)
    return join_outlines([tracer.push(values), tracer.finish()])


def crop_of(values: np.ndarray) -> Callable[[int, int, int, int], np.ndarray]:
    return lambda *box: crop_band(values, 0, box)


def drawn(values: np.ndarray, settings: Outlining = RAW, transform: Affine = ORIGIN) -> Drawn:
    return draw(traced(values), crop_of(values), transform=transform, crs=CRS_UTM, settings=settings)


def two_rooms(gap_value: int = 150) -> np.ndarray:
    """Two houses of high probability, joined by a strip of a lower one."""
    values = np.zeros((40, 60), np.uint8)
    values[10:30, 5:28] = values[10:30, 31:55] = 250
    values[10:30, 28:31] = gap_value
    return values


def test_raw_footprints_are_the_outlines_in_the_order_of_their_last_row() -> None:
    values = np.zeros((30, 30), np.uint8)
    values[2:20, 2:5] = values[4:8, 10:14] = values[10:20, 20:25] = 200
    found = drawn(values)
    assert shapely.bounds(found.polygons).tolist() == [[10, 4, 14, 8], [2, 2, 5, 20], [20, 10, 25, 20]]
    assert found.order.tolist() == [[7, 4, 10, 4, 10], [19, 2, 2, 2, 2], [19, 10, 20, 10, 20]]
    assert found.confidence == pytest.approx([200 / 254] * 3)
    assert found.edge_certainty == pytest.approx([200 / 254] * 3)
    assert found.raw.tolist() == found.polygons.tolist()


def test_hysteresis_drops_what_never_reaches_it() -> None:
    values = np.zeros((20, 40), np.uint8)
    values[2:10, 2:12] = values[2:10, 20:30] = 150
    values[5, 25] = 229  # 0.9016
    found = drawn(values, Outlining(method="raw", hysteresis=0.9))
    assert shapely.bounds(found.polygons).tolist() == [[20, 2, 30, 10]]
    assert len(drawn(values, Outlining(method="raw", hysteresis=0.91))) == 0


def test_touching_houses_are_parted_where_the_probability_is_low() -> None:
    whole = drawn(two_rooms(), Outlining(method="raw"))
    assert len(whole) == 1
    parts = drawn(two_rooms(), Outlining(method="raw", split=True))
    assert len(parts) == 2
    left, right = shapely.bounds(parts.polygons)
    assert (left[0], right[2]) == (5, 55)
    assert 28 <= left[2] == right[0] <= 31  # the wall lies in the strip
    assert shapely.union_all(parts.polygons).equals(whole.polygons[0])
    assert parts.order[:, :3].tolist() == [[29, 10, 5], [29, 10, 5]]  # one component
    strip = left[2] - 28
    assert parts.confidence[0] == pytest.approx((23 * 250 + strip * 150) / (23 + strip) / 254)


def test_one_seed_or_small_ones_split_nothing() -> None:
    for settings in (
        Outlining(method="raw", split=True, min_seed_px=20 * 24 + 1),
        Outlining(method="raw", split=True, seed=0.99),
        Outlining(method="raw", split=True, threshold=0.2, seed=0.55),  # the strip belongs to the seed too
    ):
        assert len(drawn(two_rooms(), settings)) == 1


def test_a_hole_is_filled_before_splitting_whatever_is_in_it() -> None:
    values = two_rooms()
    values[18:21, 28:31] = [[0, 255, 255], [0, 0, 0], [0, 0, 255]]  # 9 pixels, 2.25 m2
    found = drawn(values, Outlining(method="raw", split=True, min_hole_m2=3))
    assert len(found) == 2
    assert shapely.union_all(found.polygons).equals(shapely.box(5, 10, 55, 30))
    kept = drawn(values, Outlining(method="raw", split=True, min_hole_m2=2))
    assert shapely.union_all(kept.polygons).area == 50 * 20 - 9


def test_subpixel_outlines_are_nearer_to_the_shape_than_pixel_edges() -> None:
    rows, cols = np.mgrid[:60, :60] + 0.5
    disc = np.hypot(rows - 30.2, cols - 29.7) < 18.4
    values = np.rint(254 * gaussian_filter(disc.astype(float), 2)).astype(np.uint8)
    truth = shapely.Point(29.7, 30.2).buffer(18.4)

    def error(outline: str) -> float:
        settings = Outlining(method="raw", outline=outline)  # type: ignore[arg-type]
        (polygon,) = drawn(values, settings).polygons
        return float(polygon.symmetric_difference(truth).area)

    assert error("subpixel") < 0.6 * error("edge")


def test_subpixel_parts_still_share_their_wall() -> None:
    values = gaussian_filter(two_rooms(), 1.0)
    found = drawn(values, Outlining(method="raw", split=True, seed=0.9, outline="subpixel"))
    assert len(found) == 2
    assert shapely.coverage_is_valid(found.polygons)
    assert shapely.intersection(*found.polygons).length > 15
    assert (shapely.get_coordinates(found.polygons) % 1 != 0).any()


def test_what_is_surely_too_small_is_left_out_and_what_may_grow_is_not() -> None:
    values = np.zeros((20, 40), np.uint8)
    values[2:4, 2:6] = values[2:6, 20:26] = 254  # 2 and 6 m2
    found = drawn(values, Outlining(method="raw", min_area_m2=5))
    assert shapely.bounds(found.polygons).tolist() == [[20, 2, 26, 6]]
    assert len(drawn(values, Outlining(method="raw", min_area_m2=3.9))) == 2


def test_a_house_is_drawn_the_same_alone_and_elsewhere() -> None:
    random = np.random.default_rng(4)
    blurred = gaussian_filter(random.random((120, 120)), 4)
    values = np.rint(254 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.uint8)
    values[[0, -1]] = values[:, [0, -1]] = 0  # the border cuts nothing, nor what it is fitted with
    settings = Outlining(split=True, seed=0.7, outline="subpixel", min_seed_px=5, min_area_m2=1)
    whole = drawn(values, settings)
    assert len(whole) > 8
    moved = np.zeros((150, 170), np.uint8)
    moved[20:140, 30:150] = values
    transform = ORIGIN @ Affine.translation(-30, -20)
    outlines = traced(values)
    for number in range(len(outlines)):
        one = draw(
            outlines.take(np.array([number])),
            crop_of(values),
            transform=ORIGIN,
            crs=CRS_UTM,
            settings=settings,
        )
        same = (whole.order[:, :3] == one.order[0, :3]).all(axis=1) if len(one) else np.zeros(0, bool)
        assert shapely.to_wkb(whole.polygons[same]).tolist() == shapely.to_wkb(one.polygons).tolist()
    inside = shapely.bounds(whole.raw)
    inner = (inside.min(axis=1) > 0) & (inside.max(axis=1) < 120)
    elsewhere = drawn(moved, settings, transform)
    shifted = shapely.transform(elsewhere.polygons, lambda corners: corners - (30, 20))
    there = {
        tuple(order[3:] - (20, 30)): polygon for order, polygon in zip(elsewhere.order, shifted, strict=True)
    }
    for order, polygon in zip(whole.order[inner], whole.polygons[inner], strict=True):
        assert there[tuple(order[3:])].equals_exact(polygon, 1e-9)
    assert inner.sum() > 4


def test_of_a_huge_component_nothing_is_asked_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "KNOWN_PX", 500)

    def refuse(*_box: int) -> np.ndarray:
        pytest.fail("values were asked for")

    found = draw(
        traced(two_rooms()),
        refuse,
        transform=ORIGIN,
        crs=CRS_UTM,
        settings=Outlining(split=True, outline="subpixel"),
    )
    assert len(found) == 1
    assert np.isnan(found.edge_certainty).all()


def test_pixels_are_measured_on_the_ground_where_each_building_stands() -> None:
    polygons = np.array([shapely.box(0, 0, 3, 3), shapely.box(0, 60_000, 4, 60_005)], np.object_)
    degrees = Affine(1e-4, 0, 13, 0, -1e-4, 56)
    sides = pixel_sides_m(polygons, degrees, CRS.from_epsg(4326))
    for latitude, (across, down) in zip((56.0, 50.0), sides, strict=True):
        assert across == pytest.approx(1e-4 * 111_320 * np.cos(np.radians(latitude)), rel=4e-3)
        assert down == pytest.approx(1e-4 * 111_250, rel=2e-3)
    turned = Affine(0.3, 0.4, 400_000, 0.4, -0.3, 5_000_000)
    assert pixel_sides_m(polygons[:1], turned, CRS_UTM)[0] == pytest.approx([0.5, 0.5], rel=1e-3)


def test_what_lies_outside_the_domain_of_the_crs_is_left_out() -> None:
    values = np.zeros((20, 20), np.uint8)
    values[2:12, 2:12] = 254
    beyond = Affine(1e-4, 0, 13, 0, -1e-4, 91)
    found = draw(traced(values), crop_of(values), transform=beyond, crs=CRS.from_epsg(4326), settings=RAW)
    assert len(found) == 0
