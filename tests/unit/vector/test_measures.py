import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer
from shapely.geometry import Polygon, box

from buildmap.errors import InputError
from buildmap.vector.measures import area_and_perimeter, centroids, local_maps, on_ground

HOUSE_M = [(0, 0), (18, 0), (18, 7), (9, 7), (9, 12), (0, 12)]


def house_at(lon: float, lat: float, crs: CRS) -> Polygon:
    """Build an L-shaped house of about 150 m2 in any CRS."""
    there = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    scale = 1 / 111_320
    corners = [(lon + x * scale / np.cos(np.radians(lat)), lat + y * scale) for x, y in HOUSE_M]
    return Polygon([there.transform(*corner) for corner in corners])


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:4326", 13.4, 52.5),
        ("EPSG:4326", 179.99999, 68.0),
        ("EPSG:4326", -70.0, -45.0),
        ("EPSG:3857", 25.0, 65.0),
        ("EPSG:32633", 15.0, 48.0),
        ("EPSG:2263", -73.98, 40.75),
        ("EPSG:3413", -45.0, 78.0),
        ("EPSG:3413", -15.0, 78.0),
    ],
    ids=["degrees", "date line", "south", "Mercator", "UTM", "feet", "polar", "polar, turned"],
)
def test_areas_and_lengths_agree_with_geodesy(crs: str, lon: float, lat: float) -> None:
    known = CRS.from_user_input(crs)
    house = house_at(lon, lat, known)
    back = Transformer.from_crs(known, "OGC:CRS84", always_xy=True)
    on_earth = shapely.transform(house, lambda c: np.column_stack(back.transform(*c.T)))
    expected_m2, expected_m = Geod(ellps="WGS84").geometry_area_perimeter(on_earth)
    area_m2, perimeter_m = area_and_perimeter(np.array([house], object), known)
    assert area_m2[0] == pytest.approx(abs(expected_m2), rel=1e-4)
    assert perimeter_m[0] == pytest.approx(expected_m, rel=1e-4)


def test_a_town_of_ten_kilometres_is_right_too() -> None:
    town = np.array([box(24.0, 65.0, 24.2, 65.1) - box(24.05, 65.02, 24.1, 65.05)], object)
    expected_m2, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(town[0]))
    assert area_and_perimeter(town, CRS("EPSG:4326"))[0][0] == pytest.approx(expected_m2, rel=1e-3)


def test_measures_do_not_depend_on_the_company() -> None:
    crs = CRS("EPSG:4326")
    houses = np.array(
        [house_at(lon, lat, crs) for lon, lat in [(0, 0), (10, 50), (-60, -30), (170, 70)]], object
    )
    together = np.array(area_and_perimeter(houses, crs))
    alone = np.array([area_and_perimeter(houses[k : k + 1], crs) for k in range(len(houses))])[:, :, 0].T
    assert (together == alone).all()


def test_a_crs_without_an_earth_is_refused() -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]')
    with pytest.raises(InputError, match="cannot be measured"):
        area_and_perimeter(np.array([box(0, 0, 1, 1)], object), local)


def test_what_lies_outside_the_crs_has_no_measure_and_spoils_no_other() -> None:
    crs = CRS.from_epsg(4326)
    house = house_at(13.4, 52.5, crs)
    area_m2, perimeter_m = area_and_perimeter(np.array([box(4e5, 5e6, 5e5, 6e6), house], object), crs)
    alone = area_and_perimeter(np.array([house], object), crs)
    np.testing.assert_array_equal(area_m2, [np.nan, *alone[0]])
    np.testing.assert_array_equal(perimeter_m, [np.nan, *alone[1]])


def test_polygons_on_the_ground_have_their_true_measures() -> None:
    crs = CRS("EPSG:4326")
    houses = np.array([house_at(13.4, 52.5, crs), house_at(-60, -30, crs)], object)
    moved = on_ground(houses, crs, centroids(houses))
    area_m2, perimeter_m = area_and_perimeter(houses, crs)
    np.testing.assert_allclose(shapely.area(moved), area_m2, rtol=1e-6)
    np.testing.assert_array_equal(shapely.length(moved), perimeter_m)
    np.testing.assert_allclose(centroids(moved), 0, atol=1e-6)
    np.testing.assert_allclose(
        local_maps(centroids(houses), crs).m2_per_unit2 * shapely.area(houses), area_m2
    )


@pytest.mark.parametrize("code", [4326, 3857, 32633])
def test_what_shares_a_place_keeps_its_distance_on_the_ground(code: int) -> None:
    crs = CRS.from_epsg(code)
    one, other = house_at(15.0, 60.0, crs), house_at(15.0005, 60.0, crs)
    centre = np.repeat(centroids(np.array([one], object)), 2, axis=0)
    here, there = centroids(on_ground(np.array([one, other], object), crs, centre))
    _, _, expected_m = Geod(ellps="WGS84").inv(15.0, 60.0, 15.0005, 60.0)
    assert np.linalg.norm(there - here) == pytest.approx(expected_m, rel=1e-4)
    east, north = there - here
    assert abs(north) < 1e-3 * east


def test_without_a_crs_units_are_metres() -> None:
    moved = on_ground(np.array([box(5, 5, 8, 9)], object), None, np.array([[5.0, 6.0]]))
    assert moved[0].equals(box(0, -1, 3, 3))
    assert local_maps(np.zeros((2, 2)), None).m2_per_unit2.tolist() == [1, 1]


def test_a_place_outside_the_crs_has_no_ground() -> None:
    crs = CRS.from_epsg(4326)
    houses = np.array([box(4e5, 5e6, 5e5, 6e6), house_at(13.4, 52.5, crs)], object)
    before = shapely.to_wkb(houses)
    moved = on_ground(houses, crs, centroids(houses))
    assert moved[0] is None
    assert moved[1].area == pytest.approx(171, rel=1e-2)
    assert local_maps(centroids(houses), crs).inside.tolist() == [False, True]
    assert (shapely.to_wkb(houses) == before).all()
