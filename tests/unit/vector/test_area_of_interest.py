"""The ground that is asked for."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely.geometry import box

from buildmap.errors import InputError
from buildmap.vector.area_of_interest import Within, read_area
from tests.scenes import UTM, write_layer

X, Y = 400_000, 5_000_000
BOUNDS = (X, Y - 100, X + 100, Y)


def test_polygons_that_touch_the_map_are_read_in_its_crs(tmp_path: Path) -> None:
    districts = [box(X + 10, Y - 40, X + 30, Y - 20), box(X + 900, Y, X + 950, Y + 9)]
    gpd.GeoDataFrame(geometry=districts, crs=UTM).to_crs(4326).to_file(tmp_path / "aoi.gpkg")
    area = read_area(tmp_path / "aoi.gpkg", crs=UTM, bounds=BOUNDS, of="the raster")
    assert len(area) == 1
    assert area[0].symmetric_difference(districts[0]).area < 0.01


def test_an_area_elsewhere_is_refused_with_both_extents(tmp_path: Path) -> None:
    aoi = write_layer(tmp_path / "aoi.gpkg", [box(X + 200, Y, X + 210, Y + 10)])
    with pytest.raises(InputError, match=r"does not touch the raster: extents \(400200.* and \(400000"):
        read_area(aoi, crs=UTM, bounds=BOUNDS, of="the raster")
    empty = write_layer(tmp_path / "empty.gpkg", [])
    with pytest.raises(InputError, match="extents none"):
        read_area(empty, crs=UTM, bounds=BOUNDS, of="the raster")


def test_without_a_crs_an_area_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the raster has no CRS"):
        read_area(tmp_path / "aoi.gpkg", crs=None, bounds=BOUNDS, of="the raster")


def test_footprints_belong_where_their_inside_point_lies_and_once() -> None:
    within = Within(np.array([box(0, 0, 10, 10), box(10, 0, 20, 10)], np.object_))
    court = box(4, 4, 30, 30) - box(5, 5, 29, 29)  # its centroid is not inside it
    asked = np.array(
        [box(1, 1, 3, 3), box(8, 8, 13, 13), box(9, 2, 11, 3), box(21, 1, 22, 2), court], np.object_
    )
    expected = [shapely.point_on_surface(shape).intersects(box(0, 0, 20, 10)) for shape in asked]
    assert within(asked).tolist() == expected
    assert expected[:4] == [True, False, True, False]
    assert within(np.empty(0, np.object_)).tolist() == []
