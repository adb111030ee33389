"""One feature a line, as RFC 7946 and RFC 8142 want them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon, box, shape

from buildmap.vector.writing.geojson import GeoJSONSequence
from tests.scenes import UTM

WORLD = "OGC:CRS84"


def write(path: Path, polygons: list[Polygon], columns: dict[str, np.ndarray] | None = None) -> bytes:
    sink = GeoJSONSequence(path, crs=WORLD)
    sink.append("houses", np.array(shapely.to_wkb(polygons), np.object_), columns or {})
    sink.finish({"houses": len(polygons)})
    return path.read_bytes()


def features(written: bytes) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in written.decode().splitlines()]


def test_every_line_is_a_feature_with_geometry_and_properties(tmp_path: Path) -> None:
    square = box(15, 45, 15.5, 45.25)
    (feature,) = features(write(tmp_path / "a.geojsonl", [square], {"id": np.array([7])}))
    assert feature["type"] == "Feature"
    assert feature["properties"] == {"id": 7}
    assert feature["geometry"]["type"] == "Polygon"
    assert shape(feature["geometry"]).equals(square)


def test_only_a_name_in_geojsons_gets_record_separators(tmp_path: Path) -> None:
    squares = [box(15, 45, 16, 46), box(17, 45, 18, 46)]
    plain, separated = (write(tmp_path / f"a.{end}", squares) for end in ("geojsonl", "geojsons"))
    assert b"\x1e" not in plain
    assert separated == b"".join(b"\x1e" + line for line in plain.splitlines(keepends=True))


def test_values_of_every_kind_come_back_and_what_is_no_number_is_null(tmp_path: Path) -> None:
    columns = {
        "id": np.array([2**62, -1, 0]),
        "small": np.array([1, 2, 3], np.uint8),
        "share": np.array([0.1, np.nan, -np.inf]),
        "single": np.array([0.5, np.nan, 1], np.float32),
        "flat": np.array([True, False, True]),
        'na"me': np.array(['q"\\', "建物\n", None], np.object_),
        "fixed": np.array(["a", "ü", ""]),
        "date": np.array(["2026-01-02", "NaT", "1999-12-31"], "datetime64[D]"),
    }
    written = features(write(tmp_path / "a.geojsonl", [box(15, 45, 16, 46)] * 3, columns))
    rows = [feature["properties"] for feature in written]
    assert {name: [row[name] for row in rows] for name in columns} == {
        "id": [2**62, -1, 0],
        "small": [1, 2, 3],
        "share": [0.1, None, None],
        "single": [0.5, None, 1],
        "flat": [True, False, True],
        'na"me': ['q"\\', "建物\n", None],
        "fixed": ["a", "ü", ""],
        "date": ["2026-01-02", None, "1999-12-31"],
    }


def test_exteriors_are_counter_clockwise_and_interiors_clockwise(tmp_path: Path) -> None:
    hole = [(15.2, 45.2), (15.4, 45.2), (15.4, 45.4), (15.2, 45.4)]
    clockwise = Polygon([(15, 45), (15, 46), (16, 46), (16, 45)], [hole])
    (feature,) = features(write(tmp_path / "a.geojsonl", [clockwise]))
    exterior, interior = feature["geometry"]["coordinates"]
    assert shapely.is_ccw(shapely.linearrings(exterior)) and not shapely.is_ccw(shapely.linearrings(interior))


def test_coordinates_are_rounded_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    third = Polygon([(15 + 1 / 3, 45), (16, 45), (16, 46)])
    assert b"15.333333333," in write(tmp_path / "a.geojsonl", [third])


def test_a_polygon_that_rounding_would_spoil_keeps_its_digits(tmp_path: Path) -> None:
    needle = Polygon([(15, 45), (15.1, 45), (15.1, 45.0000000001), (15.05, 45.00000000005)])
    assert needle.is_valid and not shapely.transform(needle, lambda xy: xy.round(9)).is_valid
    (feature,) = features(write(tmp_path / "a.geojsonl", [needle]))
    stored = shape(feature["geometry"])
    assert stored.is_valid and stored.normalize() == needle.normalize()


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-80, 80), st.floats(1e-8, 1e-3)), max_size=10))
def test_what_is_valid_stays_valid_and_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, float, float]]
) -> None:
    given_polygons = [
        Polygon([(x, y), (x + size, y + size / 3), (x + size / 2, y + size), (x + size / 3, y + size / 2)])
        for x, y, size in places
    ]
    polygons = [polygon for polygon in given_polygons if polygon.is_valid and polygon.area > 0]
    path = tmp_path_factory.mktemp("geojson") / "a.geojsonl"
    stored = [shape(feature["geometry"]) for feature in features(write(path, polygons))]
    assert len(stored) == len(polygons)
    assert all(polygon.is_valid for polygon in stored)
    assert all(one.hausdorff_distance(other) < 1e-9 for one, other in zip(stored, polygons, strict=True))


def test_any_other_crs_than_longitude_and_latitude_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in WGS 84 / UTM zone 33N"):
        GeoJSONSequence(tmp_path / "a.geojsonl", crs=UTM)
    GeoJSONSequence(tmp_path / "a.geojsonl", crs="EPSG:4326")
