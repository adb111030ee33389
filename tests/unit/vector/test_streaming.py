"""Footprints of a raster that streams by."""

import numpy as np
import pytest
import shapely
from pyproj import CRS
from rasterio import features

from buildmap.vector import streaming
from buildmap.vector.drawn import Drawn
from buildmap.vector.outlining import Outlining
from buildmap.vector.streaming import draw_strips
from tests.scenes import ORIGIN, UTM, blocks_mask

RAW = Outlining(method="raw", min_area_m2=0, min_hole_m2=0)


def batches(values: np.ndarray, height: int) -> list[Drawn]:
    strips = [values[row : row + height] for row in range(0, len(values), height)]
    return list(draw_strips(strips, transform=ORIGIN, crs=CRS.from_user_input(UTM), settings=RAW))


def test_every_building_comes_once_and_whole_in_order_whatever_the_bands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "_BAND_PX", 1)
    random = np.random.default_rng(6)
    values = blocks_mask(random, 90, 60, 40) * np.uint8(254)
    expected = {
        shapely.normalize(shapely.geometry.shape(ring)).wkb
        for ring, value in features.shapes(values, connectivity=4)
        if value
    }
    orders = []
    for height in (1, 7, 90):
        found = batches(values, height)
        polygons = np.concatenate([batch.polygons for batch in found])
        assert {shapely.normalize(polygon).wkb for polygon in polygons} == expected
        assert len(polygons) == len(expected) > 5
        orders.append(np.concatenate([batch.order for batch in found]).tolist())
    assert orders[0] == sorted(orders[0])
    assert orders[0] == orders[1] == orders[2]


def test_low_strips_are_joined_to_bands_and_buildings_come_as_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "_BAND_PX", 20 * 30)
    values = np.zeros((60, 30), np.uint8)
    values[2:8, 2:8] = values[25:35, 2:8] = values[50:55, 2:8] = 254
    found = batches(values, 5)
    assert [batch.order[:, 0].tolist() for batch in found] == [[7], [34], [54]]


def test_no_strips_give_nothing() -> None:
    assert batches(np.zeros((0, 5), np.uint8), 4) == []
