"""Reading what map pictures are drawn from: polygons and lines of any vector file, by the rules they fit.

An extract of OpenStreetMap is read through GDAL's OSM driver. That reads the whole file for every layer
and every box, having no index: of a large extract, make a GeoPackage once
(`ogr2ogr map.gpkg extract.osm.pbf`), which has one.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError, FeatureError
from pyproj import CRS, Transformer

from buildmap.errors import InputError
from buildmap.preset.maps import MapLayer, MapRule, MapStyle
from buildmap.schema import did_you_mean
from buildmap.vector.crs import as_crs
from buildmap.vector.curves import straightened
from buildmap.vector.locating import locate
from buildmap.vector.projection import is_finite, projection
from buildmap.vector.reader import Box, Repairs, column_names, repair

_TAGS = "other_tags"
"""The column in which GDAL puts the OpenStreetMap keys that have none: '"key"=>"value",...'."""
_TAG = re.compile(r'"((?:[^"\\]|\\.)*)"=>"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_POINTS = {"Point", "MultiPoint", "Point Z", "MultiPoint Z", "None"}

Move = Callable[[NDArray[np.object_]], NDArray[np.object_]] | None
Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFeatures:
    """What a map picture shows, bottom to top."""

    shapes: NDArray[np.object_]
    """(n,) valid polygons and lines in the CRS that was asked for."""
    rules: NDArray[np.int64]
    """(n,) number of the rule that draws each, ascending; a feature is here once for each rule it fits."""
    repairs: Repairs
    """What was repaired or dropped of the polygons."""


def read_map(
    root: Path, layers: Sequence[MapLayer], style: MapStyle, *, crs: object, bounds: Box
) -> MapFeatures:
    """Read the features that a style draws.

    Args:
        root: Folder that the layers' paths are relative to.
        layers: What to read.
        style: Says what is drawn.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`.
        bounds: Left, bottom, right, top in `crs`: only features whose boxes touch it.

    Raises:
        MissingInput: If there is no such file.
        InputError: If a file is no vector file, lacks the layer or a CRS, or has nothing a rule could fit.
    """
    shapes: list[NDArray[np.object_]] = [np.empty(0, np.object_)]
    rules: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    repairs = Repairs()
    for layer in layers:
        numbers = _rules_for(layer, style)
        path = root / layer.path
        able = False
        for name in [layer.layer] if layer.layer is not None else _layer_names(path):
            wanted = _wanted(numbers, style, column_names(path, name), shown=layer.shows is not None)
            if wanted is None:
                continue
            able = True
            found, fits, mended = _read_layer(path, name, wanted, crs=as_crs(crs), bounds=bounds)
            shapes.append(found)
            rules.append(fits)
            repairs += mended
        if not able:
            keys = sorted({rule.attribute for rule in style.rules if rule.attribute is not None})
            raise InputError(
                f"{path} has no polygons or lines with any of the columns {', '.join(keys)}",
                hint='say what all its features are: shows = "building"',
            )
    order = np.argsort(np.concatenate(rules), kind="stable")
    return MapFeatures(
        shapes=np.concatenate(shapes)[order], rules=np.concatenate(rules)[order], repairs=repairs
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What to read of one layer."""

    rules: dict[int, MapRule]
    """Rules that its features may fit, by number."""
    columns: tuple[str, ...]
    """Attributes to look at; none where all features fit."""
    tags: tuple[str, ...]
    """OpenStreetMap keys to look for in `other_tags`."""

    @property
    def where(self) -> str | None:
        """Leave out what has none of the attributes, before it is in memory."""
        terms = [f'"{_doubled(name, chr(34))}" IS NOT NULL' for name in self.columns if name != _TAGS]
        terms += [f'"{_TAGS}" LIKE \'%"{_doubled(key, chr(39))}"=>%\'' for key in self.tags]
        return " OR ".join(terms) or None


def _rules_for(layer: MapLayer, style: MapStyle) -> list[int]:
    names = [rule.name for rule in style.rules]
    if layer.shows is not None and layer.shows not in names:
        known = sorted(set(names))
        hint = did_you_mean(layer.shows, known) or f"the style draws {', '.join(known)}"
        raise InputError(f"{layer.path}: the map style does not draw '{layer.shows}'", hint=hint)
    return [number for number, name in enumerate(names) if layer.shows in (None, name)]


def _wanted(
    numbers: Sequence[int], style: MapStyle, columns: Sequence[str], *, shown: bool
) -> _Wanted | None:
    """Say what to read of a layer with these columns; None where no feature of it could fit a rule."""
    if shown:
        return _Wanted(rules={number: style.rules[number] for number in numbers}, columns=(), tags=())
    rules = {
        number: style.rules[number]
        for number in numbers
        if style.rules[number].attribute in columns
        or (_TAGS in columns and style.rules[number].attribute is not None)
    }
    keys = dict.fromkeys(rule.attribute for rule in rules.values() if rule.attribute is not None)
    tags = tuple(key for key in keys if key not in columns)
    asked = tuple(key for key in keys if key in columns) + ((_TAGS,) if tags else ())
    return _Wanted(rules=rules, columns=asked, tags=tags) if rules else None


def _layer_names(path: Path) -> list[str]:
    with _clear_errors(path):
        listed = pyogrio.list_layers(locate(path))
    return [str(name) for name, kind in listed if str(kind) not in _POINTS]


def _read_layer(
    path: Path, name: str, wanted: _Wanted, *, crs: CRS, bounds: Box
) -> tuple[NDArray[np.object_], NDArray[np.int64], Repairs]:
    """Read a layer: (n,) polygons and lines, (n,) the rule each is drawn by, and what became of polygons."""
    source = locate(path)
    with _clear_errors(path):
        declared = pyogrio.read_info(source, layer=name)["crs"]
    if declared is None:
        raise InputError(
            f"{path} has no CRS, {crs.name} was asked for",
            hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{path}'",
        )
    file_crs = as_crs(declared)
    box = _box_between(bounds, crs, file_crs)
    with _clear_errors(path):
        meta, _, wkb, values = pyogrio.raw.read(
            source, layer=name, columns=list(wanted.columns), where=wanted.where, bbox=box
        )
    read: Columns = dict(zip(meta["fields"].tolist(), values, strict=True))
    known = {key: _values(read, key) for key in (*wanted.columns, *wanted.tags) if key != _TAGS}
    with np.errstate(invalid="ignore"):
        shapes = np.asarray(shapely.from_wkb(straightened(wkb), on_invalid="fix"), np.object_)
        parts = _parts(shapes, projection(file_crs, crs))
    drawn: list[NDArray[np.object_]] = [np.empty(0, np.object_)]
    rules: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for number, rule in wanted.rules.items():
        fits = (
            _fits(rule, known[rule.attribute]) if rule.attribute in known else np.ones(len(shapes), np.bool_)
        )
        found, origin = parts.areas if rule.draw == "area" else parts.lines
        chosen = found[fits[origin]]
        drawn.append(chosen)
        rules.append(np.full(len(chosen), number, np.int64))
    return np.concatenate(drawn), np.concatenate(rules), parts.repairs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Geometries taken apart: shapes, and the row of the file that each comes from."""

    areas: tuple[NDArray[np.object_], NDArray[np.int64]]
    """Valid polygons."""
    lines: tuple[NDArray[np.object_], NDArray[np.int64]]
    """Line strings."""
    repairs: Repairs
    """Of the polygons."""


def _parts(shapes: NDArray[np.object_], move: Move) -> _Parts:
    rows = np.flatnonzero(shapely.get_dimensions(shapes) != 1)
    polygons, origin, repairs = repair(shapes[rows], reproject=move)
    line_rows = np.flatnonzero(shapely.get_dimensions(shapes) == 1)
    lines, index = shapely.get_parts(shapely.force_2d(shapes[line_rows]), return_index=True)
    lines = lines if move is None else move(lines)
    good = is_finite(lines) & ~shapely.is_empty(lines)
    return _Parts(
        areas=(polygons, rows[origin]),
        lines=(np.asarray(lines[good], np.object_), line_rows[index[good]]),
        repairs=repairs,
    )


def _values(columns: Columns, key: str) -> list[str | None]:
    """Give what every row says of a key, in its own column or among the other tags."""
    if key in columns:
        return [None if value is None else str(value) for value in columns[key].tolist()]
    return [_tag(tags, key) for tags in columns[_TAGS].tolist()]


def _fits(rule: MapRule, values: list[str | None]) -> NDArray[np.bool_]:
    """Tell which rows a rule fits, by what they say of its attribute."""
    if rule.values:
        return np.array([value in rule.values for value in values], np.bool_)
    return np.array([value not in (None, "", "no") for value in values], np.bool_)


def _tag(tags: str | None, key: str) -> str | None:
    """Look a key up in text such as '"bridge"=>"yes","layer"=>"1"'."""
    for found, value in _TAG.findall(tags or ""):
        if _ESCAPED.sub(r"\1", found) == key:
            return _ESCAPED.sub(r"\1", value)
    return None


def _box_between(bounds: Box, target: CRS, source: CRS) -> Box | None:
    """Give a box in the file's CRS, or None where it has none there: then everything is read."""
    if target == source:
        return bounds
    to_file = Transformer.from_crs(target, source, always_xy=True)
    left, bottom, right, top = to_file.transform_bounds(*bounds, densify_pts=21)
    if left > right or not np.isfinite([left, bottom, right, top]).all():
        return None
    return left, bottom, right, top


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what pyogrio says into what the user can act on; rings that it closes need no word."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Non closed ring", RuntimeWarning)
            yield
    except (DataSourceError, FeatureError) as error:
        raise InputError(f"{path} cannot be read as a vector file: {error}") from error


def _doubled(text: str, quote: str) -> str:
    return text.replace(quote, 2 * quote)
