"""An archive of vector tiles without a tile, which GDAL does not write (PMTiles specification, version 3)."""

import gzip
import json
import struct
from collections.abc import Mapping

MIN_ZOOM = 13
"""The first zoom at which a building of ten metres is more than a pixel or two."""
MAX_ZOOM = 15
"""The zoom at which coordinates are rounded to 0.3 m at most; viewers enlarge it for those beyond."""

_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_GZIP, _VECTOR_TILES = 2, 1
_WORLD = (-1_800_000_000, -850_511_290, 1_800_000_000, 850_511_290)
"""West, south, east, north in 1e-7 degrees."""


def empty_archive(layer: str, fields: Mapping[str, str]) -> bytes:
    """Give the archive of a layer in which there is nothing.

    Args:
        layer: Its name.
        fields: Columns, and numpy's name of the type of each.
    """
    directory = gzip.compress(b"\0", mtime=0)  # a count of entries: none
    vector_layer = {
        "id": layer,
        "minzoom": MIN_ZOOM,
        "maxzoom": MAX_ZOOM,
        "fields": {name: _kind(dtype) for name, dtype in fields.items()},
    }
    described = {"name": layer, "format": "pbf", "vector_layers": [vector_layer]}
    metadata = gzip.compress(json.dumps(described).encode(), mtime=0)
    after_directory = _HEADER.size + len(directory)
    end = after_directory + len(metadata)
    places = (_HEADER.size, len(directory), after_directory, len(metadata), end, 0, end, 0)
    tiles = (0, 0, 0)
    kinds = (1, _GZIP, _GZIP, _VECTOR_TILES, MIN_ZOOM, MAX_ZOOM)
    header = _HEADER.pack(b"PMTiles", 3, *places, *tiles, *kinds, *_WORLD, MIN_ZOOM, 0, 0)
    return header + directory + metadata


def _kind(dtype: str) -> str:
    if dtype == "object":
        return "String"
    return "Boolean" if dtype == "bool" else "Number"
