"""The ground on which two layers are compared: one CRS for both, and strips of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
from pyproj import CRS, Transformer

from buildmap.errors import InputError
from buildmap.metrics.ground import utm_crs
from buildmap.vector.geoparquet import is_geoparquet
from buildmap.vector.measures import local_maps
from buildmap.vector.reader import Box, find_source

_BUILDINGS_PER_STRIP = 50_000
_STRIP_M = 1_000.0
_LOWEST_STRIP_M, _HIGHEST_STRIP_M = 100.0, 20_000.0
_DATE = "source_date"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """A layer before it is read."""

    path: Path
    """Its file."""
    layer: str | None
    """As asked for."""
    crs: CRS
    """Of its polygons."""
    columns: tuple[str, ...]
    """Names of its attributes."""
    count: int
    """Rows it says it has; -1 where it does not say."""
    bounds: Box | None
    """In its CRS; None where it does not say."""
    date: str | None
    """When its imagery was taken: what its first row says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonGround:
    """Where two layers are compared."""

    crs: CRS
    """Projected; both layers are brought to it."""
    unit_m: float
    """Metres on the ground of its unit, in the middle of the first layer."""
    axis_m: float
    """Metres of its unit by definition: the same wherever the layers are."""
    strip_height: float
    """In its units."""


def describe(path: Path, layer: str | None) -> LayerFacts:
    """Look a layer up.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer, or has no CRS.
        ResourceError: If it is GeoParquet, and pyarrow is not installed.
    """
    source = find_source(path, crs=None, layer=layer)
    if source.crs is None:
        raise InputError(f"{path} has no CRS", hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{path}'")
    bounds, date = None, None
    if not is_geoparquet(path):
        info = pyogrio.read_info(source.name, layer=source.layer)
        bounds = None if info["total_bounds"] is None else tuple(map(float, info["total_bounds"]))
        if _DATE in source.columns:
            first = pyogrio.raw.read(source.name, layer=source.layer, columns=[_DATE], max_features=1)[3][0]
            date = str(first[0]) if len(first) and isinstance(first[0], str) else None
    return LayerFacts(
        path=path,
        layer=layer,
        crs=source.crs,
        columns=source.columns,
        count=source.count,
        bounds=None if bounds is None else (bounds[0], bounds[1], bounds[2], bounds[3]),
        date=date,
    )


def common_ground(before: LayerFacts, after: LayerFacts) -> CommonGround:
    """Choose where to compare: in the CRS of the first that is projected, else in the UTM zone of BEFORE.

    Raises:
        InputError: If neither layer says where on Earth it is.
    """
    sides = (before, after)
    crs = next((side.crs for side in sides if side.crs.is_projected), None)
    known = next((side for side in sides if _is_somewhere(side.bounds)), before)
    if crs is None:
        crs = utm_crs(
            known.crs, known.bounds if known.bounds and _is_somewhere(known.bounds) else (0, 0, 0, 0)
        )
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(f"lengths cannot be measured in {crs.name}", hint="reproject the layers")
    boxes = [
        _moved(side.bounds, side.crs, crs) for side in sides if side.bounds and _is_somewhere(side.bounds)
    ]
    unit_m = _unit_m(boxes[0], crs) if boxes else 1.0
    return CommonGround(
        crs=crs,
        unit_m=unit_m,
        axis_m=crs.axis_info[0].unit_conversion_factor,
        strip_height=_strip_m(sides, boxes, unit_m) / unit_m,
    )


def _is_somewhere(bounds: Box | None) -> bool:
    return bounds is not None and bool(np.isfinite(bounds).all())


def _moved(bounds: Box, source: CRS, target: CRS) -> Box:
    left, bottom, right, top = Transformer.from_crs(source, target, always_xy=True).transform_bounds(*bounds)
    return left, bottom, right, top


def _unit_m(bounds: Box, crs: CRS) -> float:
    middle = np.array([[(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2]])
    unit_m = math.sqrt(float(local_maps(middle, crs).m2_per_unit2[0]))
    return unit_m if math.isfinite(unit_m) else 1.0


def _strip_m(sides: Iterable[LayerFacts], boxes: list[Box], unit_m: float) -> float:
    """Cut strips so that one has a bounded number of buildings where these are spread evenly."""
    most = max((side.count for side in sides), default=0)
    height_m = max((box[3] - box[1] for box in boxes), default=math.nan) * unit_m
    if most <= 0 or not math.isfinite(height_m):
        return _STRIP_M
    return min(max(height_m * _BUILDINGS_PER_STRIP / most, _LOWEST_STRIP_M), _HIGHEST_STRIP_M)
