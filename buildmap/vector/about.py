"""What the file of a layer says of itself, told without reading a polygon where its format knows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from buildmap.errors import InputError, ResourceError
from buildmap.vector.crs import as_crs
from buildmap.vector.geoparquet import is_geoparquet
from buildmap.vector.locating import locate

_MADE = "BUILDMAP"
_DATES = ("source_date", "first_seen", "last_seen")
"""Columns with the date of the imagery."""

_TILES = "PMTiles"
_DEFAULT_CRS = "OGC:CRS84"
"""Of GeoParquet that does not say."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """A layer in brief."""

    format: str
    """GDAL's name of it."""
    layer: str | None
    """Its name; None where the format has no layers."""
    others: tuple[str, ...]
    """Names of the file's other layers."""
    count: int | None
    """Rows; None where polygons are cut up and nobody knows."""
    columns: tuple[str, ...]
    """Names of all attributes."""
    crs: CRS | None
    """None where nothing says."""
    bounds: Box | None
    """Of all polygons, in the CRS; None where there are none."""
    dates: tuple[str, str] | None
    """First and last date of the imagery, as far as a column says."""
    made: str | None
    """Its metadata `BUILDMAP`; None where there are none."""


def read_layer_facts(path: Path) -> LayerFacts:
    """Read what is written beside the polygons; of several layers, the first that says who made it.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file.
        ResourceError: If it is GeoParquet and pyarrow is not installed.
    """
    name = locate(path)
    if is_geoparquet(path):
        return _parquet_facts(path, name)
    try:
        layers = [str(layer) for layer, _ in pyogrio.list_layers(name)]
        infos = [(layer, pyogrio.read_info(name, layer=layer)) for layer in layers]
        if not infos:
            raise InputError(f"{path} has no layers")
        marked = [layer for layer, info in infos if _MADE in _metadata(info)]
        return _facts(name, (marked or layers)[0], layers)
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path} cannot be read as a vector file: {error}") from error


def _facts(name: str, layer: str, layers: Sequence[str]) -> LayerFacts:
    info = pyogrio.read_info(name, layer=layer, force_feature_count=True, force_total_bounds=True)
    columns = tuple(info["fields"].tolist())
    crs, bounds = info["crs"], info["total_bounds"]
    if info["driver"] == _TILES:
        crs, bounds = _DEFAULT_CRS, [float(edge) for edge in info["dataset_metadata"]["bounds"].split(",")]
    return LayerFacts(
        format=info["driver"],
        layer=layer,
        others=tuple(other for other in layers if other != layer),
        count=None if info["driver"] == _TILES else int(info["features"]),
        columns=columns,
        crs=None if crs is None else as_crs(crs),
        bounds=_finite(bounds),
        dates=_dates(name, layer, columns),
        made=_metadata(info).get(_MADE),
    )


def _metadata(info: Mapping[str, Any]) -> dict[str, str]:
    """Give what a layer says, or, of an archive of tiles, the archive."""
    if info["driver"] == _TILES:
        return {_MADE: described} if (described := info["dataset_metadata"].get("description")) else {}
    return dict(info["layer_metadata"] or {})


def _dates(name: str, layer: str, columns: Sequence[str]) -> tuple[str, str] | None:
    """Ask the file for the first and last date; GDAL's SQL does not read the polygons for it."""
    asked = [column for column in _DATES if column in columns]
    if not asked:
        return None
    ends = ", ".join(f"MIN({column}) AS first_{column}, MAX({column}) AS last_{column}" for column in asked)
    quoted = layer.replace('"', '""')
    values = pyogrio.raw.read(name, sql=f'SELECT {ends} FROM "{quoted}"', read_geometry=False)[3]
    return _ends([value[0] for value in values if len(value)])


def _ends(values: Sequence[Any]) -> tuple[str, str] | None:
    """Give the first and the last of some dates, in whatever type they come."""
    told = sorted(text for value in values if (text := str(value)) not in {"None", "NaT", "nan", ""})
    return (told[0], told[-1]) if told else None


def _finite(bounds: Sequence[float] | None) -> Box | None:
    if bounds is None or not all(map(math.isfinite, bounds)):
        return None
    left, bottom, right, top = map(float, bounds)
    return left, bottom, right, top


def _parquet_facts(path: Path, name: str) -> LayerFacts:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ResourceError(
            "pyarrow is not installed, without which GeoParquet cannot be read",
            hint="pip install 'buildmap[parquet]'",
        ) from error
    try:
        with parquet.ParquetFile(name) as file:
            metadata, names = file.metadata, file.schema_arrow.names
            described = {key.decode(): value.decode() for key, value in (metadata.metadata or {}).items()}
            geo = json.loads(described["geo"])["columns"]
            column = next(iter(geo.values()))
            dates = [file.read([column])[column].to_pylist() for column in _DATES if column in names]
    except (arrow.ArrowException, OSError, ValueError, KeyError, AttributeError, StopIteration) as error:
        raise InputError(f"{path} cannot be read as GeoParquet: {error}") from error
    crs = column.get("crs", _DEFAULT_CRS)
    return LayerFacts(
        format="Parquet",
        layer=None,
        others=(),
        count=metadata.num_rows,
        columns=tuple(known for known in names if known not in {*geo, "bbox"}),
        crs=None if crs is None else as_crs(crs),
        bounds=_finite(column.get("bbox")),
        dates=_ends([date for column in dates for date in column]),
        made=described.get(_MADE),
    )
