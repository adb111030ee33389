"""Ground in degrees: GeoJSON's order, and the places where maps break."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from shapely.geometry import shape

from buildmap.errors import InputError
from buildmap.stac.ground import WORLD, box_ground, ground_of

UTM33 = CRS.from_epsg(32633)


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x, y + side), (x + side, y + side), (x + side, y)]


@settings(max_examples=25)
@given(
    x=st.floats(200_000, 700_000),
    y=st.floats(100_000, 8_000_000),
    side=st.floats(10, 90_000),
    share=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)
def test_a_place_inside_stays_inside(x: float, y: float, side: float, share: tuple[float, float]) -> None:
    ground = ground_of(square(x, y, side), UTM33)
    place = Transformer.from_crs(UTM33, "OGC:CRS84", always_xy=True).transform(
        x + share[0] * side, y + share[1] * side
    )
    polygon = shape(ground.geometry)
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    assert polygon.distance(shapely.Point(place)) < 1e-4  # of a degree: edges are a little curved
    assert ground.bbox == pytest.approx(polygon.bounds, abs=1e-9)


def test_degrees_stay_as_they_are() -> None:
    ground = ground_of([(5, 46), (5, 47), (7, 47), (7, 46)], CRS.from_epsg(4326))
    assert ground.bbox == (5, 46, 7, 47)
    assert shape(ground.geometry).equals(shapely.box(5, 46, 7, 47))


def test_longitudes_beyond_180_are_those_of_the_west() -> None:
    ground = ground_of([(190, 5), (190, 6), (200, 6), (200, 5)], CRS.from_user_input("OGC:CRS84"))
    assert ground.bbox == (-170, 5, -160, 6)
    assert shape(ground.geometry).bounds == (-170, 5, -160, 6)


def test_ground_across_the_date_line_is_two_pieces() -> None:
    fiji = CRS.from_epsg(32760)  # UTM zone 60 south, whose eastern edge is the date line
    corners = square(800_000, 8_000_000, 60_000)
    ground = ground_of(corners, fiji)
    assert ground_of(corners[::-1], fiji).bbox == ground.bbox  # begins beyond the line
    west, _, east, _ = ground.bbox
    assert (west, east) == (pytest.approx(179.83, abs=0.01), pytest.approx(-179.60, abs=0.02))
    assert ground.geometry["type"] == "MultiPolygon"
    pieces = shape(ground.geometry)
    assert pieces.is_valid
    assert sorted(round(edge) for edge in pieces.bounds[::2]) == [-180, 180]
    assert [piece.exterior.is_ccw for piece in pieces.geoms] == [True, True]
    to_degrees = Transformer.from_crs(fiji, "OGC:CRS84", always_xy=True)
    for x in (801_000, 859_000):
        assert pieces.contains(shapely.Point(to_degrees.transform(x, 8_030_000)))


@pytest.mark.parametrize(
    ("code", "edges"), [(3413, (-180, 90)), (3031, (-180, -90))], ids=["north pole", "south pole"]
)
def test_ground_around_a_pole_reaches_it_from_all_sides(code: int, edges: tuple[int, int]) -> None:
    ground = ground_of(square(-1e6, -1e6, 2e6), CRS.from_epsg(code))
    assert edges[0] == ground.bbox[0] == -ground.bbox[2]
    assert edges[1] in ground.bbox
    assert min(abs(ground.bbox[1]), abs(ground.bbox[3])) == pytest.approx(77, abs=2)


def test_the_world_is_one_piece() -> None:
    ground = ground_of([(-180, -90), (-180, 90), (180, 90), (180, -90)], CRS.from_user_input("OGC:CRS84"))
    assert ground.bbox == WORLD
    assert shape(ground.geometry).equals(shapely.box(*WORLD))
    assert shape(box_ground(WORLD).geometry).equals(shapely.box(*WORLD))


def test_corners_without_a_place_are_refused_with_advice() -> None:
    with pytest.raises(InputError, match="no place in WGS 84 / UTM zone 33N") as refusal:
        ground_of(np.full((4, 2), 1e30), UTM33)
    assert refusal.value.hint
