from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Point, Polygon, box

from buildmap.data.map_layers import MapFeatures, read_map
from buildmap.errors import InputError, MissingInput
from buildmap.preset.maps import OSM_STYLE, MapLayer, MapRule, MapStyle
from tests.scenes import UTM, write_layer
from tests.unit.data.openstreetmap import Way, write_pbf, write_xml

EVERYWHERE = (300_000.0, 4_900_000.0, 500_000.0, 5_100_000.0)
STYLE = MapStyle(
    rules=(
        MapRule(name="green", color=(0, 255, 0), attribute="landuse", values=("forest", "grass")),
        MapRule(name="road", color=(99, 99, 99), draw="line", attribute="highway", width_m=9),
        MapRule(
            name="main", color=(255, 255, 255), draw="line", attribute="highway", values=("1",), width_m=5
        ),
        MapRule(name="building", color=(255, 0, 0), attribute="building"),
    )
)
GREEN, ROAD, MAIN, BUILDING = range(4)


def _read(
    root: Path, *layers: MapLayer, style: MapStyle = STYLE, bounds: tuple[float, ...] = EVERYWHERE
) -> MapFeatures:
    return read_map(root, layers, style, crs=UTM, bounds=bounds)


def _write(path: Path, rows: list[tuple[object, dict[str, object]]], **options: object) -> Path:
    frame = gpd.GeoDataFrame([columns for _, columns in rows], geometry=[s for s, _ in rows], crs=UTM)
    frame.to_file(path, **options)
    return path


def _at(east: float, north: float) -> tuple[float, float]:
    return 400_000 + east, 5_000_000 + north


def _square(east: float, north: float, side: float = 10) -> Polygon:
    return box(*_at(east, north), *_at(east + side, north + side))


def test_features_come_by_the_rules_they_fit_bottom_to_top(tmp_path: Path) -> None:
    house, wood, field = _square(0, 0), _square(20, 0), _square(40, 0)
    _write(
        tmp_path / "a.gpkg",
        [
            (house, {"building": "yes", "landuse": None}),
            (wood, {"building": None, "landuse": "forest"}),
            (field, {"building": "no", "landuse": "farmland"}),
            (Point(_at(1, 1)), {"building": "yes", "landuse": "forest"}),
        ],
    )
    lines = [LineString([_at(0, 50), _at(90, 50)]), LineString([_at(0, 60), _at(90, 60)])]
    _write(tmp_path / "b.gpkg", [(lines[0], {"highway": 1}), (lines[1], {"highway": 2})])
    found = _read(tmp_path, MapLayer(path="a.gpkg"), MapLayer(path="b.gpkg"))
    assert found.rules.tolist() == [GREEN, ROAD, ROAD, MAIN, BUILDING]
    expected = [wood, lines[0], lines[1], lines[0], house]
    assert all(shapely.equals(one, other) for one, other in zip(found.shapes, expected, strict=True))


def test_every_part_of_a_feature_is_drawn_as_the_whole(tmp_path: Path) -> None:
    halves = MultiPolygon([_square(0, 0), _square(20, 0)])
    lanes = MultiLineString([[_at(0, 5), _at(9, 5)], [_at(0, 8), _at(9, 8)]])
    _write(tmp_path / "a.gpkg", [(halves, {"building": "yes"})])
    _write(tmp_path / "b.gpkg", [(lanes, {"highway": "2"})])
    found = _read(tmp_path, MapLayer(path="a.gpkg"), MapLayer(path="b.gpkg"))
    assert found.rules.tolist() == [ROAD, ROAD, BUILDING, BUILDING]
    assert shapely.area(found.shapes).tolist() == [0, 0, 100, 100]
    assert shapely.length(found.shapes[:2]).tolist() == [9, 9]


def test_all_layers_of_a_file_are_read_unless_one_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [(_square(0, 0), {"building": "yes"})], layer="houses")
    _write(path, [(_square(50, 0), {"building": "yes"})], layer="sheds")
    _write(path, [(Point(_at(1, 1)), {"building": "yes"})], layer="trees")
    assert len(_read(tmp_path, MapLayer(path="a.gpkg")).shapes) == 2
    only = _read(tmp_path, MapLayer(path="a.gpkg", layer="sheds"))
    assert shapely.bounds(only.shapes[0])[0] == 400_050


def test_a_layer_without_attributes_shows_what_it_is_said_to(tmp_path: Path) -> None:
    write_layer(tmp_path / "roofs.gpkg", [_square(0, 0), _square(20, 0)])
    found = _read(tmp_path, MapLayer(path="roofs.gpkg", shows="building"))
    assert found.rules.tolist() == [BUILDING] * 2
    with pytest.raises(
        InputError, match=r"roofs.gpkg has no polygons or lines with any of the columns"
    ) as hit:
        _read(tmp_path, MapLayer(path="roofs.gpkg"))
    assert hit.value.hint == 'say what all its features are: shows = "building"'
    with pytest.raises(InputError, match="does not draw 'bilding'") as misspelt:
        _read(tmp_path, MapLayer(path="roofs.gpkg", shows="bilding"))
    assert misspelt.value.hint == "did you mean 'building'?"


def test_rules_without_an_attribute_draw_nothing_of_other_layers(tmp_path: Path) -> None:
    _write(tmp_path / "a.gpkg", [(_square(0, 0), {"building": "yes", "landuse": "forest"})])
    bare = MapStyle(
        rules=(
            MapRule(name="all", color=(0, 0, 0)),
            MapRule(name="green", color=(0, 255, 0), attribute="landuse"),
        )
    )
    assert _read(tmp_path, MapLayer(path="a.gpkg"), style=bare).rules.tolist() == [1]


def test_only_what_touches_the_box_is_read_in_the_crs_asked_for(tmp_path: Path) -> None:
    near, far = _square(0, 0), _square(5000, 0)
    frame = gpd.GeoDataFrame({"building": ["yes", "yes"]}, geometry=[near, far], crs=UTM)
    frame.to_crs("EPSG:4326").to_file(tmp_path / "a.geojson")
    found = _read(tmp_path, MapLayer(path="a.geojson"), bounds=(*_at(-50, -50), *_at(50, 50)))
    assert len(found.shapes) == 1
    np.testing.assert_allclose(shapely.bounds(found.shapes[0]), shapely.bounds(near), atol=0.01)


def test_sick_polygons_are_mended_and_what_has_no_place_is_left_out(tmp_path: Path) -> None:
    bowtie = Polygon([_at(0, 0), _at(10, 10), _at(10, 0), _at(0, 10)])
    shapes = [bowtie, Polygon(), None, Polygon([(*_at(0, 0), 5), (*_at(9, 0), 5), (*_at(0, 9), 5)])]
    _write(tmp_path / "a.gpkg", [(shape, {"building": "yes"}) for shape in shapes])
    found = _read(tmp_path, MapLayer(path="a.gpkg"))
    assert shapely.is_valid(found.shapes).all()
    assert not shapely.has_z(found.shapes).any()
    assert shapely.area(found.shapes).sum() == pytest.approx(50 + 40.5)
    assert (found.repairs.mended, found.repairs.flattened) == (1, 1)


def test_a_round_building_inside_of_a_collection_is_drawn_with_straight_edges(tmp_path: Path) -> None:
    east, north = _at(0, 0)
    circle = f"CIRCULARSTRING({east} {north},{east + 10} {north},{east} {north})"
    text, path = tmp_path / "round.csv", tmp_path / "round.gpkg"
    text.write_text(f'building,WKT\nyes,"GEOMETRYCOLLECTION(CURVEPOLYGON({circle}))"\n')
    _, _, wkb, values = pyogrio.raw.read(text, columns=["building"])
    pyogrio.raw.write(path, wkb, values, ["building"], crs=UTM, geometry_type="Unknown", driver="GPKG")
    (disc,) = _read(tmp_path, MapLayer(path="round.gpkg")).shapes
    assert disc.area == pytest.approx(np.pi * 25, rel=0.002)


def test_lines_lose_their_heights(tmp_path: Path) -> None:
    _write(tmp_path / "a.gpkg", [(LineString([(*_at(0, 0), 7), (*_at(9, 0), 8)]), {"highway": "x"})])
    (line,) = _read(tmp_path, MapLayer(path="a.gpkg")).shapes
    assert shapely.equals(line, LineString([_at(0, 0), _at(9, 0)])) and not line.has_z


@pytest.mark.parametrize("name", ["map 1;!?.gpkg", "地図.gpkg"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "a.gpkg", [(_square(0, 0), {"building": "yes"})]).rename(tmp_path / name)
    for layer in (None, "a"):
        assert len(_read(tmp_path, MapLayer(path=name, layer=layer)).shapes) == 1


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"none.gpkg does not exist"):
        _read(tmp_path, MapLayer(path="none.gpkg"))
    (tmp_path / "text.gpkg").write_text("no map")
    with pytest.raises(InputError, match=r"text.gpkg cannot be read as a vector file"):
        _read(tmp_path, MapLayer(path="text.gpkg"))
    _write(tmp_path / "a.gpkg", [(_square(0, 0), {"building": "yes"})])
    with pytest.raises(InputError, match="no layer 'b'"):
        _read(tmp_path, MapLayer(path="a.gpkg", layer="b"))
    write_layer(tmp_path / "nowhere.gpkg", [_square(0, 0)], crs=None)
    with pytest.raises(InputError, match=r"nowhere.gpkg has no CRS"):
        _read(tmp_path, MapLayer(path="nowhere.gpkg", shows="building"))


def _town() -> list[Way]:
    """Give a house, a park, a river, a road and a path around 15 E 45 N, by their places in UTM."""
    to_degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)

    def way(places: list[tuple[float, float]], **tags: str) -> Way:
        return Way(
            places=[tuple(np.round(to_degrees.transform(*_at(*place)), 7)) for place in places],
            tags={key.replace("__", ":"): value for key, value in tags.items()},
        )

    def ring(east: float, north: float, side: float) -> list[tuple[float, float]]:
        right, upper = east + side, north + side
        return [(east, north), (right, north), (right, upper), (east, upper), (east, north)]

    return [
        way(ring(10, 10, 12), building="house", addr__street='Zum "Ochsen" \\ 1'),
        way(ring(100, 0, 60), leisure="park"),
        way(ring(0, 100, 20), building="no"),
        way([(-50, 200), (300, 200)], waterway="river", name="Wien"),
        way([(-50, 80), (150, 80), (300, 120)], highway="primary", bridge="yes"),
        way([(0, 90), (0, 190)], power="line"),
    ]


def _names(found: MapFeatures) -> list[str]:
    return [OSM_STYLE.rules[number].name for number in found.rules]


@pytest.mark.parametrize(("write", "name"), [(write_xml, "town.osm"), (write_pbf, "town.osm.pbf")])
def test_an_extract_of_openstreetmap_is_read_as_it_is(
    tmp_path: Path, write: Callable[[Path, list[Way]], Path], name: str
) -> None:
    write(tmp_path / name, _town())
    found = _read(tmp_path, MapLayer(path=name), style=OSM_STYLE)
    assert _names(found) == ["green", "water", "road", "road", "building"]
    np.testing.assert_allclose(
        [shapely.area(found.shapes[0]), shapely.area(found.shapes[4])], [3600, 144], rtol=0.002
    )
    np.testing.assert_allclose(shapely.bounds(found.shapes[4]), [*_at(10, 10), *_at(22, 22)], atol=0.02)
    assert shapely.length(found.shapes[1]) == pytest.approx(350, abs=0.05)
    near = _read(tmp_path, MapLayer(path=name), style=OSM_STYLE, bounds=(*_at(0, 0), *_at(30, 30)))
    assert _names(near) == ["building"]


@pytest.mark.parametrize("write", [write_xml, write_pbf])
def test_keys_that_have_no_column_are_found_among_the_other_tags(
    tmp_path: Path, write: Callable[[Path, list[Way]], Path]
) -> None:
    write(tmp_path / "town.osm.pbf" if write is write_pbf else tmp_path / "town.osm", _town())
    (file,) = tmp_path.iterdir()
    keys = MapStyle(
        rules=(
            MapRule(name="wire", color=(0, 0, 0), draw="line", attribute="power", width_m=1),
            MapRule(name="bridge", color=(0, 0, 0), draw="line", attribute="bridge", width_m=9),
            MapRule(
                name="bridges", color=(0, 0, 0), draw="line", attribute="bridge", values=("no",), width_m=9
            ),
            MapRule(name="inn", color=(0, 0, 0), attribute="addr:street", values=('Zum "Ochsen" \\ 1',)),
        )
    )
    found = _read(tmp_path, MapLayer(path=file.name), style=keys)
    assert [keys.rules[number].name for number in found.rules] == ["wire", "bridge", "inn"]
    assert shapely.area(found.shapes[2]) == pytest.approx(144, rel=0.002)
