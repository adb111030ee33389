import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely import affinity
from shapely.geometry import MultiPolygon, Point, Polygon, box, shape

from buildmap.vector.fitting.partition import Prices
from buildmap.vector.fitting.polygons import FAILED, ROUND, STRAIGHT, Smoothing, fit_polygons, turned
from buildmap.vector.ragged import Ragged, to_ragged

SMOOTHING = Smoothing(
    prices=Prices(corner=100.0, diagonal=60.0, free=180.0, hidden=12.0, hidden_max=14), shortest=2.5
)
L_SHAPE = Polygon([(10, 10), (70, 10), (70, 40), (40, 40), (40, 60), (10, 60)])


def burnt(polygon: Polygon, side: int = 110) -> Polygon:
    """Trace the pixels whose centres a polygon holds."""
    centres = np.arange(side) + 0.5
    cols, rows = np.meshgrid(centres, centres)
    mask = shapely.contains_xy(polygon, cols, rows).astype(np.uint8)
    (outline,) = (shape(ring) for ring, _ in shapes(mask, mask=mask > 0))
    assert isinstance(outline, Polygon)
    return outline


def polygons_of(fits: Ragged) -> NDArray[np.object_]:
    offsets = (fits.rings, fits.polygons)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, fits.corners, offsets), object)


def fitted(polygon: Polygon) -> Polygon:
    fits, kinds = fit_polygons(to_ragged(np.array([polygon], object)), SMOOTHING)
    assert kinds.tolist() != [FAILED]
    drawn = polygons_of(fits)[0]
    assert isinstance(drawn, Polygon)
    return drawn


def error(drawn: Polygon, true: Polygon) -> float:
    """Give the greatest distance of a true corner from the nearest drawn one, as many on both sides."""
    one, other = (shapely.get_coordinates(shapely.remove_repeated_points(p)) for p in (drawn, true))
    assert len(one) == len(other)
    apart = np.hypot(*(one[:, None] - other[None]).transpose(2, 0, 1))
    return float(max(apart.min(0).max(), apart.min(1).max()))


@pytest.mark.parametrize("turn", [0.0, 3.0, 17.0, 30.0, 45.0, 77.0, 160.0])
def test_corners_of_a_house_come_back_from_its_pixels(turn: float) -> None:
    true = affinity.rotate(L_SHAPE, turn)
    assert error(fitted(burnt(true)), true) < 1.0


def test_corners_of_a_layer_without_noise_stay_where_they_are() -> None:
    true = affinity.rotate(L_SHAPE, 17)
    assert error(fitted(true), true) < 1e-4


def test_right_angles_are_right() -> None:
    ring = np.diff(fitted(burnt(affinity.rotate(L_SHAPE, 23))).exterior.coords, axis=0)
    along = ring / np.hypot(*ring.T)[:, None]
    assert np.abs((along[:-1] * along[1:]).sum(1)).max() < 1e-4


def test_a_yard_stands_as_its_house_does() -> None:
    true = affinity.rotate(box(10, 10, 90, 70) - box(30, 30, 60, 50), 12)
    drawn = fitted(burnt(true))
    assert len(drawn.interiors) == 1
    assert error(drawn, true) < 1.5
    wall, yard = np.diff(drawn.exterior.coords, axis=0)[0], np.diff(drawn.interiors[0].coords, axis=0)[0]
    turn = np.arctan2(*wall) - np.arctan2(*yard)
    assert np.sin(2 * turn) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("radius", [6.0, 10.0, 40.0])
def test_a_tank_becomes_a_circle(radius: float) -> None:
    outline = burnt(Point(50.3, 51.6).buffer(radius, quad_segs=50))
    fits, kinds = fit_polygons(to_ragged(np.array([outline], object)), SMOOTHING)
    assert kinds.tolist() == [ROUND]
    drawn = polygons_of(fits)[0]
    assert drawn.area == pytest.approx(np.pi * radius**2, rel=0.03)
    assert drawn.centroid.distance(Point(50.3, 51.6)) < 0.3


def test_a_square_is_no_circle() -> None:
    _, kinds = fit_polygons(to_ragged(np.array([burnt(affinity.rotate(box(40, 40, 56, 56), 20))])), SMOOTHING)
    assert kinds.tolist() == [STRAIGHT]


def test_a_house_with_one_slanting_wall_keeps_it() -> None:
    true = Polygon([(10, 10), (95, 10), (95, 50), (10, 75)])
    assert error(fitted(burnt(true)), true) < 1.5


@pytest.mark.parametrize(
    "polygon",
    [
        box(0, 0, 1, 1),
        box(0, 0, 30, 20) - box(5, 5, 6, 6),
        Polygon(np.random.default_rng(1).normal(0, 1, (40, 2))).convex_hull.buffer(0.01),
    ],
    ids=["a pixel", "a pixel of a yard", "a blob of a pixel"],
)
def test_what_is_too_small_fails(polygon: Polygon) -> None:
    fits, kinds = fit_polygons(to_ragged(np.array([polygon], object)), SMOOTHING)
    assert kinds.tolist() == [FAILED]
    assert len(fits.corners) == 0


def test_what_has_too_many_samples_fails() -> None:
    _, kinds = fit_polygons(to_ragged(np.array([box(0, 0, 6000, 6000), box(0, 0, 4000, 4000)])), SMOOTHING)
    assert kinds.tolist() == [FAILED, STRAIGHT]


def test_a_failure_takes_nothing_from_its_neighbours() -> None:
    some = np.array([L_SHAPE, box(0, 0, 1, 1), Point(40, 40).buffer(20), box(0, 0, 30, 20)], object)
    fits, kinds = fit_polygons(to_ragged(some), SMOOTHING)
    assert kinds.tolist() == [STRAIGHT, FAILED, ROUND, STRAIGHT]
    assert np.diff(fits.polygons).tolist() == [1, 0, 1, 1]
    kept = polygons_of(fits._replace(polygons=fits.polygons[[0, 2, 3, 4]]))
    assert MultiPolygon([kept[0]]).equals_exact(MultiPolygon([fitted(L_SHAPE)]), 0)
    assert kept[2].equals_exact(fitted(box(0, 0, 30, 20)), 0)


def test_points_turn_from_x_towards_y() -> None:
    np.testing.assert_allclose(
        turned(np.array([(2.0, 0.0), (0.0, 1.0)]), np.pi / 2), [(0, 2), (-1, 0)], atol=1e-12
    )
