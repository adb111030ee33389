"""Which names ask for a layer, and which formats can be written."""

from pathlib import Path

from buildmap.errors import OutputError

_VECTOR_SUFFIXES = {
    ".fgb",
    ".geojson",
    ".geojsonl",
    ".geojsons",
    ".gml",
    ".gpkg",
    ".json",
    ".kml",
    ".parquet",
    ".shp",
    ".sqlite",
}


def is_vector(path: Path) -> bool:
    """Tell whether a name asks for a layer."""
    return path.suffix.lower() in _VECTOR_SUFFIXES


def check_format(path: Path) -> None:
    """Refuse a name whose format cannot be written.

    Raises:
        OutputError: If it is no GeoPackage.
    """
    if path.suffix.lower() != ".gpkg":
        raise OutputError(
            f"footprints cannot be written as '{path.suffix or path.name}', only as .gpkg",
            hint=f"write a .gpkg, then: ogr2ogr '{path.name}' '{path.stem}.gpkg'",
        )
