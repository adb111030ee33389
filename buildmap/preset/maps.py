"""How a map picture looks: which features are drawn, in which colour, how wide, and what lies on top.

The default follows the target pictures of "Map-Guided Cross-Training for Building Detection" (Section
II-B): the colours of OpenStreetMap's standard style, for roads, green areas and water, with buildings in red.
"""

from dataclasses import dataclass
from typing import Literal

Color = tuple[int, ...]
"""Red, green, blue, 0..255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLayer:
    """One file of features that map pictures are drawn from."""

    path: str
    """Any vector file GDAL reads, also an extract of OpenStreetMap (.osm.pbf), in the data folder."""
    layer: str | None = None
    """One of its layers; absent means all of them."""
    shows: str | None = None
    """Name of the rules that draw every feature, whatever its attributes; absent goes by the attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRule:
    """What one kind of feature looks like; a feature is drawn by every rule it fits."""

    name: str
    """What it draws, such as 'building'; several rules may share a name."""
    color: Color
    """Red, green, blue, 0..255."""
    draw: Literal["area", "line"] = "area"
    """Polygons are filled, or lines drawn; a feature of the other kind does not fit."""
    attribute: str | None = None
    """Column or OpenStreetMap key to look at; absent fits only features of a layer that `shows` the name."""
    values: tuple[str, ...] = ()
    """What the attribute may be; none means anything but 'no'."""
    width_m: float = 0.0
    """Width of a line on the ground, metres."""
    width_px: float = 0.0
    """Least width of a line, in pixels of the picture."""

    def __post_init__(self) -> None:
        _check_color(self.color)
        if min(self.width_m, self.width_px) < 0:
            raise ValueError(f"{self.name}: width_m {self.width_m} or width_px {self.width_px} is negative")
        if (self.draw == "line") != (self.width_m + self.width_px > 0):
            raise ValueError(f"{self.name}: a line needs width_m or width_px, an area has none")
        if self.values and self.attribute is None:
            raise ValueError(f"{self.name}: values {list(self.values)} of no attribute")

    def width(self, pixel_m: float) -> float:
        """Give the width of a line in metres, in a picture with pixels of `pixel_m` metres."""
        return max(self.width_m, self.width_px * pixel_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapStyle:
    """A table of rules, drawn one after the other: the later is on top."""

    rules: tuple[MapRule, ...]
    """Bottom to top."""
    background: Color = (242, 239, 233)
    """Where nothing is drawn: red, green, blue, 0..255."""
    samples: int = 4
    """Places looked at along each side of a pixel, whose colours are averaged."""

    def __post_init__(self) -> None:
        _check_color(self.background)
        if not self.rules:
            raise ValueError("a map style without rules")
        if self.samples < 1:
            raise ValueError(f"samples {self.samples} is not positive")


def _check_color(color: Color) -> None:
    if len(color) != 3 or not all(0 <= part <= 255 for part in color):
        raise ValueError(f"color {list(color)} is not red, green, blue, 0..255")


def _areas(name: str, color: Color, **values_of: tuple[str, ...]) -> tuple[MapRule, ...]:
    return tuple(
        MapRule(name=name, color=color, attribute=key, values=values) for key, values in values_of.items()
    )


def _line(name: str, color: Color, width_m: float, key: str, *values: str) -> MapRule:
    return MapRule(
        name=name, color=color, draw="line", attribute=key, values=values, width_m=width_m, width_px=1
    )


def _roads() -> tuple[MapRule, ...]:
    """Give the edges of all roads, then their surfaces, so that roads are open where they meet."""
    kinds: tuple[tuple[float, Color, Color, tuple[str, ...]], ...] = (
        (4, (255, 255, 255), (200, 196, 190), ("service", "track", "living_street", "pedestrian")),
        (7, (255, 255, 255), (187, 184, 178), ("residential", "unclassified", "road")),
        (9, (255, 255, 255), (160, 156, 150), ("tertiary", "tertiary_link")),
        (11, (247, 250, 191), (112, 125, 5), ("secondary", "secondary_link")),
        (13, (252, 214, 164), (160, 107, 0), ("primary", "primary_link")),
        (15, (249, 178, 156), (200, 78, 47), ("trunk", "trunk_link")),
        (18, (232, 146, 162), (220, 42, 103), ("motorway", "motorway_link")),
    )
    paths = _line("road", (250, 128, 114), 2, "highway", "footway", "path", "cycleway", "steps")
    edges = [_line("road", edge, width_m + 2, "highway", *values) for width_m, _, edge, values in kinds]
    surfaces = [_line("road", color, width_m, "highway", *values) for width_m, color, _, values in kinds]
    return (paths, *edges, *surfaces)


OSM_STYLE = MapStyle(
    rules=(
        *_areas("green", (238, 240, 213), landuse=("farmland", "farmyard")),
        *_areas(
            "green",
            (205, 235, 176),
            landuse=("grass", "meadow", "village_green", "recreation_ground", "allotments", "greenfield"),
            natural=("grassland", "heath", "fell"),
            leisure=("garden", "golf_course"),
        ),
        *_areas("green", (200, 250, 204), leisure=("park",)),
        *_areas("green", (170, 224, 203), leisure=("pitch", "track")),
        *_areas("green", (170, 203, 175), landuse=("cemetery",), amenity=("grave_yard",)),
        *_areas("green", (174, 223, 163), landuse=("orchard", "vineyard", "plant_nursery")),
        *_areas("green", (200, 215, 171), natural=("scrub",)),
        *_areas("green", (173, 209, 158), landuse=("forest",), natural=("wood",)),
        _line("water", (170, 211, 223), 2, "waterway", "stream", "ditch", "drain"),
        _line("water", (170, 211, 223), 6, "waterway", "canal"),
        _line("water", (170, 211, 223), 12, "waterway", "river"),
        *_areas(
            "water",
            (170, 211, 223),
            natural=("water", "bay"),
            landuse=("reservoir", "basin", "salt_pond"),
            waterway=("riverbank", "dock"),
        ),
        *_roads(),
        _line("railway", (112, 112, 112), 3, "railway", "rail", "light_rail", "tram", "narrow_gauge"),
        MapRule(name="building", color=(255, 0, 0), attribute="building"),
    )
)
"""Colours as in OpenStreetMap's standard style, buildings red; widths about those on the ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """What map pictures are drawn from, and what they look like."""

    layers: tuple[MapLayer, ...]
    """Files of features, in the data folder."""
    style: MapStyle = OSM_STYLE
    """What they look like."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("maps without layers")
