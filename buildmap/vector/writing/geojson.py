"""Layers as a sequence of GeoJSON features, one a line."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from buildmap.publish import write_failure
from buildmap.vector.crs import needed_crs
from buildmap.vector.validity import roll_back
from buildmap.vector.writing.formats import GEOJSON_SEQ
from buildmap.vector.writing.part_file import part_file

_DECIMALS = 9
"""Of a degree: a tenth of a millimetre."""
_RECORD_SEPARATOR = "\x1e"
_ROWS_AT_A_TIME = 16_384


class GeoJSONSequence:
    """A file of GeoJSON features in the making: a `LayerSink` of one layer. It is empty where none is.

    A name in `.geojsons` gets the record separators of RFC 8142, any other plain lines.
    """

    def __init__(self, path: Path, *, crs: object | None) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: Longitude and latitude on WGS 84, as OGC:CRS84 or EPSG:4326 name them.

        Raises:
            InputError: If there is no CRS.
        """
        known = needed_crs(crs)
        if known.to_authority() not in {("OGC", "CRS84"), ("EPSG", "4326")}:
            raise ValueError(f"GeoJSON is in {GEOJSON_SEQ.only_crs}, not in {known.name}")
        self.path = path
        self._layer: str | None = None
        self._start = _RECORD_SEPARATOR if path.suffix.lower() == ".geojsons" else ""

    def append(
        self,
        layer: str,
        wkb: NDArray[np.object_],
        columns: Mapping[str, NDArray[np.generic]],
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Add polygons to the one layer; there is no room for metadata: see `LayerSink`."""
        del metadata
        if self._layer not in {None, layer}:
            raise ValueError(f"a second layer '{layer}' after '{self._layer}'")
        mode, self._layer = "w" if self._layer is None else "a", layer
        try:
            with part_file(self.path, ".geojsonl") as part, part.open(mode, encoding="utf-8") as file:
                for start in range(0, len(wkb), _ROWS_AT_A_TIME):
                    rows = slice(start, start + _ROWS_AT_A_TIME)
                    values = {name: column[rows] for name, column in columns.items()}
                    file.writelines(f"{self._start}{line}\n" for line in _features(wkb[rows], values))
        except OSError as error:
            raise write_failure(self.path, str(error.strerror)) from error

    def finish(self, counts: Mapping[str, int]) -> None:
        """Read the features back, where there are any: see `LayerSink`."""
        count = counts[str(self._layer)]
        with part_file(self.path, ".geojsonl") as part:
            stored = 0
            if part.stat().st_size:  # GDAL takes an empty file for no layer
                try:
                    stored = pyogrio.read_info(f"GeoJSONSeq:{part}", force_feature_count=True)["features"]
                except (DataSourceError, DataLayerError) as error:
                    raise write_failure(self.path, str(error)) from error
            if stored != count:
                raise write_failure(self.path, f"{stored} of {count} footprints arrived")
            part.rename(part.with_name(self.path.name))


def _features(wkb: NDArray[np.object_], columns: Mapping[str, NDArray[np.generic]]) -> Iterator[str]:
    """Write polygons as GeoJSON features."""
    exact = shapely.orient_polygons(shapely.from_wkb(wkb))
    rounded = shapely.transform(exact, lambda coordinates: coordinates.round(_DECIMALS))
    geometries = shapely.to_geojson(roll_back(rounded, exact))
    names = [json.dumps(name, ensure_ascii=False) for name in columns]
    texts = [_json_values(values) for values in columns.values()]
    for geometry, *row in zip(geometries, *texts, strict=True):
        properties = ",".join(f"{name}:{text}" for name, text in zip(names, row, strict=True))
        yield f'{{"type":"Feature","properties":{{{properties}}},"geometry":{geometry}}}'


def _json_values(values: NDArray[Any]) -> list[str]:
    """Write a column, value by value; JSON has no word for NaN and infinity but null."""
    plain = values.tolist()
    if values.dtype.kind in "iu":
        return [*map(str, plain)]
    if values.dtype.kind == "f":
        return [repr(value) if math.isfinite(value) else "null" for value in plain]
    if values.dtype.kind == "M":
        plain = [None if text == "NaT" else text for text in np.datetime_as_string(values).tolist()]
    written = {value: json.dumps(value, ensure_ascii=False) for value in {*plain}}
    return [written[value] for value in plain]
