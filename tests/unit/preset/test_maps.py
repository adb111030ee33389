import tomllib

import pytest

from buildmap.errors import MismatchError
from buildmap.preset.maps import OSM_STYLE, MapLayer, MapRule, Maps, MapStyle
from buildmap.schema import build

TABLE = """
background = [250, 250, 250]
samples = 8

[[rules]]
name = "road"
color = [255, 255, 255]
draw = "line"
attribute = "highway"
values = ["primary", "secondary"]
width_m = 9
width_px = 1.5

[[rules]]
name = "building"
color = [255, 0, 0]
"""


def test_a_style_is_what_its_table_in_a_preset_says() -> None:
    style = build(MapStyle, tomllib.loads(TABLE), where="p.toml: map_style")
    road = MapRule(
        name="road",
        color=(255, 255, 255),
        draw="line",
        attribute="highway",
        values=("primary", "secondary"),
        width_m=9.0,
        width_px=1.5,
    )
    assert style == MapStyle(
        rules=(road, MapRule(name="building", color=(255, 0, 0))), background=(250, 250, 250), samples=8
    )


def test_a_layer_is_what_its_table_says() -> None:
    layer = build(MapLayer, {"path": "osm.gpkg", "layer": "lines", "shows": "road"}, where="p.toml")
    assert layer == MapLayer(path="osm.gpkg", layer="lines", shows="road")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"rules": []}, "without rules"),
        ({"rules": [{"name": "a", "color": [1, 2]}]}, "not red, green, blue"),
        ({"rules": [{"name": "a", "color": [1, 2, 256]}]}, "not red, green, blue"),
        ({"rules": [{"name": "a", "color": [1, 2, 3]}], "background": [0, 0, -1]}, "not red, green, blue"),
        ({"rules": [{"name": "a", "color": [1, 2, 3], "draw": "line"}]}, "a line needs width_m"),
        ({"rules": [{"name": "a", "color": [1, 2, 3], "width_m": 2.0}]}, "an area has none"),
        ({"rules": [{"name": "a", "color": [1, 2, 3], "draw": "line", "width_px": -1.0}]}, "negative"),
        ({"rules": [{"name": "a", "color": [1, 2, 3], "values": ["yes"]}]}, "of no attribute"),
        ({"rules": [{"name": "a", "color": [1, 2, 3]}], "samples": 0}, "not positive"),
        ({"rules": [{"name": "a", "color": [1, 2, 3], "draw": "dots"}]}, "not one of area, line"),
        ({"rules": [{"name": "a", "colour": [1, 2, 3]}]}, "unknown key 'colour'"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(table: dict[str, object], said: str) -> None:
    with pytest.raises(MismatchError, match=said):
        build(MapStyle, table, where="p.toml")


def test_a_line_is_as_wide_as_on_the_ground_but_no_thinner_than_it_may_be() -> None:
    rule = MapRule(name="road", color=(0, 0, 0), draw="line", width_m=6, width_px=2)
    assert rule.width(0.5) == 6
    assert rule.width(10) == 20


def test_the_default_draws_what_the_papers_pictures_show_with_red_buildings_on_top() -> None:
    assert {rule.name for rule in OSM_STYLE.rules} == {"building", "road", "railway", "green", "water"}
    top = OSM_STYLE.rules[-1]
    assert (top.name, top.color, top.values) == ("building", (255, 0, 0), ())
    drawn_by = {
        (rule.attribute, value): rule.color
        for rule in OSM_STYLE.rules
        for value in rule.values
        if rule.name != "road"
    }
    red, green, blue = drawn_by[("natural", "water")]
    assert blue > green > red
    red, green, blue = drawn_by[("landuse", "forest")]
    assert green > max(red, blue)


def test_the_default_draws_the_edges_of_all_roads_before_any_surface() -> None:
    roads = [rule for rule in OSM_STYLE.rules if rule.name == "road" and "path" not in rule.values]
    edges, surfaces = roads[: len(roads) // 2], roads[len(roads) // 2 :]
    assert [rule.values for rule in edges] == [rule.values for rule in surfaces]
    assert all(edge.width_m == surface.width_m + 2 for edge, surface in zip(edges, surfaces, strict=True))
    assert [rule.width_m for rule in surfaces] == sorted(rule.width_m for rule in surfaces)


def test_maps_are_layers_and_usually_look_like_openstreetmap() -> None:
    table = tomllib.loads('[[layers]]\npath = "a.gpkg"\nshows = "building"\n')
    maps = build(Maps, table, where="p.toml: maps")
    assert maps == Maps(layers=(MapLayer(path="a.gpkg", shows="building"),), style=OSM_STYLE)
    with pytest.raises(ValueError, match="maps without layers"):
        Maps(layers=())
