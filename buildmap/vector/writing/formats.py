"""Which names ask for a layer, and which formats can be written."""

from dataclasses import dataclass
from pathlib import Path

from buildmap.errors import OutputError
from buildmap.schema import did_you_mean

VECTOR_SUFFIXES = frozenset(
    {
        ".fgb",
        ".geojson",
        ".geojsonl",
        ".geojsons",
        ".geoparquet",
        ".gml",
        ".gpkg",
        ".json",
        ".kml",
        ".parquet",
        ".pmtiles",
        ".shp",
        ".sqlite",
    }
)
"""Ends of file names that ask for a layer, of any format that GDAL reads."""
VALID_LAYER = "valid"
"""Beside footprints: the ground on which the imagery had data."""
STREAM = Path("-")
"""The output that is standard output."""
GAPS_LAYER = "gaps"
"""Beside footprints: the ground of which nothing is known, because it could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format in which footprints can be written."""

    name: str
    """GDAL's name of it."""
    suffixes: tuple[str, ...]
    """Ends of file names that ask for it."""
    several_layers: bool = False
    """A file has room for more than one layer."""
    streams: bool = False
    """It can be read from a pipe."""
    only_crs: str | None = None
    """The one CRS its coordinates can be in; None for any."""


GPKG = Format(name="GPKG", suffixes=(".gpkg",), several_layers=True)
FLATGEOBUF = Format(name="FlatGeobuf", suffixes=(".fgb",), streams=True)
GEOJSON_SEQ = Format(
    name="GeoJSONSeq", suffixes=(".geojsonl", ".geojsons"), streams=True, only_crs="OGC:CRS84"
)
PARQUET = Format(name="Parquet", suffixes=(".parquet", ".geoparquet"))
PMTILES = Format(name="PMTiles", suffixes=(".pmtiles",))
FORMATS = (GPKG, FLATGEOBUF, GEOJSON_SEQ, PARQUET, PMTILES)


def is_vector(path: Path) -> bool:
    """Tell whether a name asks for a layer."""
    return path.suffix.lower() in VECTOR_SUFFIXES


def format_of(path: Path, name: str | None = None) -> Format:
    """Choose the format of an output.

    Args:
        path: Its suffix decides where nothing else does; down a `STREAM` goes FlatGeobuf.
        name: GDAL's name of a format, in any case.

    Raises:
        OutputError: If footprints cannot be written in such a format, or not down a stream.
    """
    kind = _named(name) if name is not None else FLATGEOBUF if path == STREAM else _suffixed(path)
    if path == STREAM and not kind.streams:
        able = " or ".join(each.name for each in FORMATS if each.streams)
        raise OutputError(f"{kind.name} cannot be streamed", hint=f"stream {able}, or name a file")
    return kind


def file_name(output: Path, kind: Format) -> str:
    """Give the name under which an output is made, which a `STREAM` has not."""
    return f"stream{kind.suffixes[0]}" if output == STREAM else output.name


def check_format(path: Path) -> None:
    """Refuse a name whose format has no room for several layers.

    Raises:
        OutputError: If it is no GeoPackage.
    """
    if path.suffix.lower() not in GPKG.suffixes:
        raise _refusal(path, ".gpkg")


def _named(name: str) -> Format:
    known = {each.name.lower(): each for each in FORMATS}
    if name.lower() in known:
        return known[name.lower()]
    listed = ", ".join(each.name for each in FORMATS)
    raise OutputError(
        f"footprints cannot be written as '{name}', only as {listed}",
        hint=did_you_mean(name, [each.name for each in FORMATS]),
    )


def _suffixed(path: Path) -> Format:
    for each in FORMATS:
        if path.suffix.lower() in each.suffixes:
            return each
    raise _refusal(path, ", ".join(suffix for each in FORMATS for suffix in each.suffixes))


def _refusal(path: Path, able: str) -> OutputError:
    return OutputError(
        f"footprints cannot be written as '{path.suffix or path.name}', only as {able}",
        hint=f"write a .gpkg, then: ogr2ogr '{path.name}' '{path.stem}.gpkg' footprints",
    )
