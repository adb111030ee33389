"""Fitting polygons of a layer."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from shapely import affinity

from buildmap.vector.outlining import Outlining
from buildmap.vector.refit import refit

UTM = CRS.from_epsg(32633)
DEGREES = CRS.from_epsg(4326)
ADAPTIVE = Outlining(min_hole_m2=0)


def ragged_house(left: float, bottom: float, seed: int, degrees: float = 17.0) -> shapely.Polygon:
    """A house of 16 m by 10 m whose outline somebody drew with a trembling hand, a corner every 40 cm."""
    house = affinity.rotate(shapely.box(left, bottom, left + 16, bottom + 10), degrees)
    line = shapely.segmentize(house.exterior, 0.4)
    noise = np.random.default_rng(seed).normal(0, 0.07, (len(line.coords) - 1, 2))
    corners = np.asarray(line.coords)[:-1] + noise
    trembling = shapely.Polygon(corners)
    assert trembling.is_valid
    return trembling


def sharpness(polygon: shapely.Polygon) -> float:
    """Greatest difference of a corner from a right angle, in degrees."""
    walls = np.diff(np.asarray(polygon.exterior.coords), axis=0)
    turns = np.degrees(np.diff(np.arctan2(walls[:, 1], walls[:, 0])))
    return float(np.abs(np.abs((turns + 180) % 360 - 180) - 90).max())


def houses() -> np.ndarray:
    return np.array([ragged_house(400_000 + 40 * place, 5_000_000, place) for place in range(4)], np.object_)


def test_ragged_houses_become_rectangles_in_their_place() -> None:
    found = refit(houses(), crs=UTM, gsd_m=0.3, settings=ADAPTIVE)
    assert set(found.method) == {"adaptive"}
    assert shapely.get_num_coordinates(found.polygons).tolist() == [5] * 4
    assert max(map(sharpness, found.polygons)) < 0.1
    overlap = shapely.area(shapely.intersection(found.polygons, houses()))
    iou = overlap / shapely.area(shapely.union(found.polygons, houses()))
    assert found.iou_raw == pytest.approx(iou, abs=1e-6)
    assert (iou > 0.95).all()
    assert np.isnan(found.confidence).all() and np.isnan(found.edge_certainty).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(found.polygons)).all()


def test_in_degrees_angles_are_right_on_the_ground() -> None:
    to_degrees = Transformer.from_crs(UTM, DEGREES, always_xy=True)
    north = shapely.transform(
        houses(), lambda corners: corners + np.array([0, 1_600_000])
    )  # 59.6 degrees north
    there = shapely.transform(north, to_degrees.transform, interleaved=False)
    found = refit(there, crs=DEGREES, gsd_m=0.3, settings=ADAPTIVE)
    back = Transformer.from_crs(DEGREES, UTM, always_xy=True)
    in_metres = shapely.transform(found.polygons, back.transform, interleaved=False)
    assert shapely.get_num_coordinates(found.polygons).tolist() == [5] * 4
    assert max(map(sharpness, in_metres)) < 0.1
    assert min(map(sharpness, found.polygons)) > 5
    iou = shapely.area(shapely.intersection(in_metres, north)) / shapely.area(shapely.union(in_metres, north))
    assert (iou > 0.95).all()


def test_shared_walls_stay_shared() -> None:
    row = [
        affinity.rotate(
            shapely.box(400_000 + 8 * n, 5_000_000, 400_008 + 8 * n, 5_000_012),
            9,
            origin=(400_000, 5_000_000),
        )
        for n in range(3)
    ]
    layer = np.array([row[0], ragged_house(400_100, 5_000_000, 1), row[1], row[2]], np.object_)
    found = refit(layer, crs=UTM, gsd_m=0.3, settings=ADAPTIVE)
    walls = shapely.length(shapely.intersection(found.polygons[[0, 2]], found.polygons[[2, 3]]))
    assert walls == pytest.approx([12, 12], rel=0.02)
    assert shapely.area(shapely.intersection(found.polygons[[0, 2]], found.polygons[[2, 3]])).max() < 1e-6
    same = found.order[[0, 2, 3], 0]
    assert len(set(same)) == 1 and found.order[1, 0] not in same


def test_what_lies_outside_the_domain_is_left_out_and_the_rest_keep_their_order() -> None:
    beyond = shapely.transform(houses()[:1], lambda corners: corners + 9e7)
    found = refit(np.concatenate([houses()[:1], beyond, houses()[1:]]), crs=UTM, gsd_m=0.3, settings=ADAPTIVE)
    assert found.order[:, 3].tolist() == [0, 2, 3, 4]


def test_raw_gives_back_what_it_was_given_but_for_small_holes() -> None:
    house = shapely.Polygon(
        shapely.box(400_000, 5_000_000, 400_020, 5_000_020).exterior,
        [
            shapely.box(400_004, 5_000_004, 400_005, 5_000_005).exterior,
            shapely.box(400_009, 5_000_009, 400_015, 5_000_015).exterior,
        ],
    )
    found = refit(np.array([house]), crs=UTM, gsd_m=0.3, settings=Outlining(method="raw", min_hole_m2=5))
    expected = shapely.Polygon(house.exterior, [house.interiors[1]])
    assert found.polygons[0].symmetric_difference(expected).area < 1e-4
    assert found.method.tolist() == ["raw"]


def test_an_empty_layer_gives_nothing() -> None:
    assert len(refit(np.empty(0, np.object_), crs=UTM, gsd_m=0.3, settings=ADAPTIVE)) == 0
