import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import LineString, Point, Polygon, box

from buildmap.raster.burn import FootprintIndex, burn

GRIDS = [
    Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000),
    Affine(0.3, 0, 400_000.1, 0, 0.3, 4_999_000),
    Affine.translation(400_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5),
]


def polygons_over(
    transform: Affine, rng: np.random.Generator, height: int, width: int, count: int
) -> NDArray[np.object_]:
    """Draw random discs and rings around a window, in its coordinates."""
    shapes = []
    for _ in range(count):
        x, y = transform @ (rng.uniform(-5, width + 5), rng.uniform(-5, height + 5))
        disc = Point(x, y).buffer(rng.uniform(0.5, 6), quad_segs=3)
        shapes.append(disc.difference(Point(x, y).buffer(0.4)) if rng.random() < 0.5 else disc)
    return np.array(shapes, dtype=object)


@pytest.mark.parametrize("transform", GRIDS)
def test_a_pixel_is_drawn_exactly_where_its_centre_is_inside(transform: Affine) -> None:
    polygons = polygons_over(transform, np.random.default_rng(1), 40, 50, 12)
    rows, cols = np.mgrid[:40, :50] + 0.5
    xs, ys = transform @ (cols.ravel(), rows.ravel())
    inside = shapely.contains_xy(shapely.union_all(polygons), xs, ys).reshape(40, 50)
    drawn = burn(polygons, transform=transform, height=40, width=50)
    assert inside.any() and not inside.all()
    np.testing.assert_array_equal(drawn, inside)


@pytest.mark.parametrize("transform", GRIDS)
@pytest.mark.parametrize("strip", [1, 3, 7, 16])
def test_windows_put_together_are_the_whole(transform: Affine, strip: int) -> None:
    polygons = polygons_over(transform, np.random.default_rng(2), 37, 50, 25)
    index = FootprintIndex(polygons)
    whole = index.burn(transform=transform, height=37, width=50)
    strips = [
        index.burn(transform=transform @ Affine.translation(0, row), height=min(strip, 37 - row), width=50)
        for row in range(0, 37, strip)
    ]
    np.testing.assert_array_equal(np.concatenate(strips), whole)


def test_edges_through_pixel_centres_fall_the_same_way_in_every_window() -> None:
    transform = Affine(0.3, 0, 400_000.1, 0, -0.3, 4_999_999.7)
    corners = [transform @ corner for corner in [(3.5, 2.5), (20.5, 2.5), (20.5, 30.5), (3.5, 30.5)]]
    index = FootprintIndex(np.array([Polygon(corners)], dtype=object))
    whole = index.burn(transform=transform, height=40, width=30)
    assert whole.sum() == 17 * 28
    for row in range(40):
        one = index.burn(transform=transform @ Affine.translation(0, row), height=1, width=30)
        np.testing.assert_array_equal(one[0], whole[row], err_msg=f"row {row}")


def test_a_polygon_of_many_vertices_is_clipped_and_drawn_as_if_it_were_not() -> None:
    angles = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    radius = 900 + 40 * np.sin(37 * angles) + 3 * np.sin(5000 * angles)
    star = Polygon(np.stack([1000 + radius * np.cos(angles), 1000 + radius * np.sin(angles)], axis=1))
    ring = np.array([star.buffer(0).difference(Point(150, 1000).buffer(60))], dtype=object)
    transform = Affine.translation(40, 940)
    expected = rasterio.features.rasterize(list(ring), out_shape=(120, 130), transform=transform)
    drawn = burn(ring, transform=transform, height=120, width=130)
    assert 0 < drawn.sum() < drawn.size
    np.testing.assert_array_equal(drawn, expected.astype(bool))


def test_a_polygon_whose_rim_leaves_the_window_untouched_fills_it_or_leaves_it_empty() -> None:
    rim = Point(0, 0).buffer(100, quad_segs=1000).difference(Point(0, 0).buffer(50, quad_segs=1000))
    ring = np.array([rim], dtype=object)
    assert burn(ring, transform=Affine.translation(70, 0), height=8, width=8).all()
    assert not burn(ring, transform=Affine.translation(0, 0), height=8, width=8).any()


def test_no_polygons_and_far_polygons_draw_nothing() -> None:
    nothing = np.array([], dtype=object)
    far = np.array([box(1000, 1000, 1001, 1001)], dtype=object)
    for polygons in (nothing, far):
        drawn = burn(polygons, transform=Affine.identity(), height=4, width=5)
        assert drawn.shape == (4, 5)
        assert drawn.dtype == np.bool_
        assert not drawn.any()


def test_the_polygons_given_are_left_as_they_are() -> None:
    polygons = np.array([LineString([(0, 0), (9, 9)]).buffer(2, quad_segs=500)], dtype=object)
    before = shapely.to_wkb(polygons).tolist()
    burn(polygons, transform=Affine.translation(3, 3), height=2, width=2)
    assert shapely.to_wkb(polygons).tolist() == before


@pytest.mark.parametrize("transform", GRIDS)
def test_numbers_are_drawn_in_the_order_of_the_layer_so_the_last_one_stays(transform: Affine) -> None:
    polygons = polygons_over(transform, np.random.default_rng(5), 40, 50, 15)
    numbers = np.random.default_rng(6).permutation(15).astype(np.int32) + 70_000
    rows, cols = np.mgrid[:40, :50] + 0.5
    xs, ys = transform @ (cols.ravel(), rows.ravel())
    expected = np.full(40 * 50, -1)
    for polygon, number in zip(polygons, numbers, strict=True):
        expected[shapely.contains_xy(polygon, xs, ys)] = number
    index = FootprintIndex(polygons)
    drawn = index.burn_numbers(numbers, transform=transform, height=40, width=50)
    assert drawn.dtype == np.int32 and len(np.unique(drawn)) > 5
    np.testing.assert_array_equal(drawn.ravel(), expected)
    np.testing.assert_array_equal(drawn >= 0, index.burn(transform=transform, height=40, width=50))


def test_a_clipped_polygon_keeps_its_number_in_all_its_parts() -> None:
    comb = box(0, 0, 100, 4)
    for tooth in range(5):
        comb = comb.union(Point(10 + 20 * tooth, 4).buffer(6, quad_segs=100))
    polygons = np.array([box(0, 0, 100, 20), comb, box(0, 0, 1, 1)], dtype=object)
    drawn = FootprintIndex(polygons).burn_numbers(
        np.array([4, 9, 6], np.int32), transform=Affine.translation(0, 6), height=4, width=100
    )
    assert shapely.get_num_coordinates(comb) > 1000
    assert (drawn[0] == 9).sum() == 50 and len(np.flatnonzero(np.diff(drawn[0] == 9))) == 10
    assert set(np.unique(drawn).tolist()) == {4, 9}


def test_no_polygon_near_gives_no_number() -> None:
    far = FootprintIndex(np.array([box(1000, 1000, 1001, 1001)], dtype=object))
    drawn = far.burn_numbers(np.array([3], np.int32), transform=Affine.identity(), height=4, width=5)
    assert drawn.tolist() == [[-1] * 5] * 4
