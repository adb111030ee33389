"""Buildings one by one: polygons of a layer in a chip's pixels, and the pieces of a mask."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import Polygon, box

from buildmap.data.outlines import Footprints, trace_buildings
from buildmap.raster.burn import burn

HALF_METRE = Affine(0.5, 0, 400_000, 0, -0.5, 3_000_000)


def test_polygons_that_meet_a_chip_are_given_in_its_pixels_in_the_layer_s_order() -> None:
    def on_map(*bounds: float) -> Polygon:
        return shapely.affinity.affine_transform(box(*bounds), [0.5, 0, 0, -0.5, 400_000, 3_000_000])

    layer = np.array([on_map(30, 8, 40, 12), on_map(60, 60, 70, 70), on_map(-5, 2, 6.25, 7)])
    found = Footprints(layer).near(HALF_METRE, (32, 34))
    assert [polygon.bounds for polygon in found.polygons] == [(30, 8, 40, 12), (-5, 2, 6.25, 7)]
    assert [set(one.exterior.coords) for one in found.corners] == [
        {(30, 8), (40, 8), (40, 12), (30, 12)},
        {(-5, 2), (6.25, 2), (6.25, 7), (-5, 7)},
    ]


def test_a_turned_chip_finds_what_lies_in_its_corners() -> None:
    turned = Affine.translation(100, 100) @ Affine.rotation(45)
    layer = np.array([box(-5, -5, 5, 5)])
    corner = shapely.transform(layer, lambda xy: np.array([turned @ tuple(point) for point in xy]))
    (polygon,) = Footprints(corner).near(turned, (20, 20)).polygons
    np.testing.assert_allclose(polygon.bounds, (-5, -5, 5, 5), atol=1e-4)


def test_a_chip_without_buildings_has_none() -> None:
    assert len(Footprints(np.array([box(0, 0, 1, 1)])).near(HALF_METRE, (8, 8)).polygons) == 0
    assert len(Footprints(np.array([], np.object_)).near(HALF_METRE, (8, 8)).corners) == 0
    assert len(trace_buildings(np.zeros((8, 8), np.bool_)).polygons) == 0


def test_threads_find_the_same() -> None:
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 200, (400, 2))
    layer = shapely.box(*at.T, *(at + 5).T)
    footprints = Footprints(layer)
    chips = [Affine.translation(x, y) for x, y in rng.uniform(0, 180, (40, 2))]
    alone = [[p.wkt for p in footprints.near(chip, (20, 20)).polygons] for chip in chips]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda chip: [p.wkt for p in footprints.near(chip, (20, 20)).polygons], chips)
        )
    assert together == alone
    assert sum(map(len, alone)) > 40


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 24), st.integers(3, 24), st.floats(0.1, 0.9))
def test_the_pieces_of_a_mask_are_its_4_connected_components(
    seed: int, rows: int, cols: int, share: float
) -> None:
    mask = np.random.default_rng(seed).random((rows, cols)) < share
    found = trace_buildings(mask)
    labels, count = ndimage.label(mask)
    assert len(found.polygons) == len(found.corners) == count
    for polygon in found.polygons:
        drawn = burn(np.array([polygon]), transform=Affine.identity(), height=rows, width=cols)
        label = labels[drawn][0]
        assert np.array_equal(drawn, labels == label)
        labels[labels == label] = 0
    assert not labels.any()


@pytest.mark.parametrize("degrees", [0, 7, 20, 45, 63, 81])
def test_a_rectangle_s_stairs_have_four_corners_where_the_rectangle_has_them(degrees: float) -> None:
    rectangle = shapely.affinity.rotate(box(14, 20, 50, 44), degrees)
    mask = burn(np.array([rectangle]), transform=Affine.identity(), height=64, width=64)
    (traced,) = trace_buildings(mask).corners
    corners = np.unique(shapely.get_coordinates(traced), axis=0)
    true = shapely.get_coordinates(rectangle)[:-1]
    distance = np.hypot(*(corners[:, None] - true).transpose(2, 0, 1))
    assert distance.min(axis=0).max() < 2.5
    assert len(corners) <= 5


def test_holes_have_corners_too() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[2:18, 3:17] = True
    mask[6:12, 7:12] = False
    (traced,) = trace_buildings(mask).corners
    assert set(traced.exterior.coords) == {(3, 2), (17, 2), (17, 18), (3, 18)}
    assert [set(ring.coords) for ring in traced.interiors] == [{(7, 6), (12, 6), (12, 12), (7, 12)}]
