"""Reading polygons from any vector file, repaired; what cannot be used is dropped and counted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from buildmap.vector.arrow import Columns
from buildmap.vector.curves import straightened
from buildmap.vector.geoparquet import find_geoparquet, is_geoparquet, read_geoparquet
from buildmap.vector.layer import Source, clear_errors, find_layer, layer_kinds
from buildmap.vector.locating import locate
from buildmap.vector.projection import is_finite, projection

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
_POLYGON = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """How many rows of a file needed care, per kind."""

    null: int = 0
    """Rows without a geometry, dropped."""
    empty: int = 0
    """Empty geometries, dropped."""
    not_finite: int = 0
    """Geometries with NaN or infinite coordinates, or outside the target CRS, dropped."""
    not_polygonal: int = 0
    """Points, lines and polygons without any area, dropped."""
    flattened: int = 0
    """Geometries with Z or M, which was dropped."""
    mended: int = 0
    """Invalid geometries made valid."""

    @property
    def dropped(self) -> int:
        """Rows that gave no polygon."""
        return self.null + self.empty + self.not_finite + self.not_polygonal

    def __add__(self, other: "Repairs") -> "Repairs":
        return Repairs(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprints:
    """Valid two-dimensional polygons of one layer."""

    polygons: NDArray[np.object_]
    """(n,) shapely polygons, none empty; multipolygons are taken apart."""
    crs: CRS | None
    """Of the polygons; None where nothing says."""
    repairs: Repairs
    """What was repaired or dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintRows:
    """Valid two-dimensional polygons of some rows of a layer, and what the file says of each."""

    polygons: NDArray[np.object_]
    """(n,) shapely polygons, none empty; multipolygons are taken apart."""
    columns: dict[str, NDArray[np.generic]]
    """Attributes by column, (n,) each; the parts of a multipolygon have the same."""
    crs: CRS | None
    """Of the polygons; None where nothing says."""
    repairs: Repairs
    """What was repaired or dropped."""


def find_source(
    path: Path, *, crs: object | None, layer: str | None = None, columns: Sequence[str] = ()
) -> Source:
    """Look a layer up before it is read; see `read_in_batches`."""
    find = find_geoparquet if is_geoparquet(path) else find_layer
    return find(path, crs=crs, layer=layer, columns=columns)


def read_footprints(
    path: Path,
    *,
    crs: object | None,
    bbox: Box | None = None,
    layer: str | None = None,
) -> Footprints:
    """Read the polygons of a layer in a CRS of choice.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        bbox: Left, bottom, right, top in the CRS of choice: only polygons whose boxes touch it.
        layer: Needed where the file has several layers with polygons.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer, or has no CRS while one was asked for.
    """
    batches = list(read_in_batches(path, crs=crs, bbox=bbox, layer=layer))
    return Footprints(
        polygons=np.concatenate([batch.polygons for batch in batches]),
        crs=batches[0].crs,
        repairs=sum((batch.repairs for batch in batches), Repairs()),
    )


def read_in_batches(
    path: Path,
    *,
    crs: object | None,
    bbox: Box | None = None,
    layer: str | None = None,
    columns: Sequence[str] = (),
    rows: int = 65_536,
) -> Iterator[FootprintRows]:
    """Read the polygons of a layer in a CRS of choice, so many rows at a time.

    GDAL reads the file once, now, into plain bytes, some 140 per footprint: asking it for one part after
    the other takes, in most formats, a new start for each part. These bytes go as the polygons come, which
    take nine times as much. GeoParquet is read as the polygons come.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        bbox: Left, bottom, right, top in the CRS of choice: only polygons whose boxes touch it.
        layer: Needed where the file has several layers with polygons.
        columns: Attributes to read as well.
        rows: Rows of the file in a batch.

    Returns:
        At least one batch, though it may be empty.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer or a column, or has no CRS while one was asked
            for.
        ResourceError: If it is GeoParquet, and pyarrow is not installed.
    """
    source = find_source(path, crs=crs, layer=layer, columns=columns)
    same = source.crs == source.target
    box = bbox if bbox is None or same else _box_between(bbox, source.target, source.crs)
    return _footprints(source, _rows_of(source, columns, rows, box), bbox)


def read_unrepaired(
    path: Path, *, layer: str | None = None, rows: int = 65_536
) -> Iterator[NDArray[np.object_]]:
    """Read the geometries of a layer as they are in the file, whatever is wrong with them.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        layer: Needed where the file has several layers with polygons.
        rows: Rows of the file in a batch.

    Yields:
        (n,) shapely geometries or None; rings that are not closed are closed.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, or lacks the layer.
    """
    source = find_source(path, crs=None, layer=layer)
    for wkb, _ in _rows_of(source, (), rows, None):
        if len(wkb):
            yield _shapes(wkb)


def layer_names(path: Path) -> tuple[str, ...]:
    """Name the layers of a file, those without polygons too; GeoParquet has none.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file.
    """
    located = locate(path)
    return () if is_geoparquet(path) else tuple(layer_kinds(path, located))


def column_names(path: Path, layer: str | None = None) -> tuple[str, ...]:
    """Name the attributes of a layer.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        layer: Needed where the file has several layers with polygons.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, or lacks the layer.
    """
    return find_source(path, crs=None, layer=layer).columns


def _rows_of(
    source: Source, columns: Sequence[str], rows: int, box: Box | None
) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    """Give WKB and attributes of the rows that may touch a box in the file's CRS, so many at a time."""
    if is_geoparquet(source.path):
        batches = read_geoparquet(source, columns, rows)
        return batches if box is None else _near(batches, box)
    with clear_errors(source.path, source.name, source.layer):
        meta, _, wkb, values = pyogrio.raw.read(
            source.name, layer=source.layer, columns=list(columns), bbox=box
        )
    return _sliced(wkb, dict(zip(meta["fields"].tolist(), values, strict=True)), rows)


def _near(
    batches: Iterator[tuple[NDArray[np.object_], Columns]], box: Box
) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    for wkb, attributes in batches:
        near = _touches(_shapes(wkb), box)
        yield wkb[near], {name: values[near] for name, values in attributes.items()}


def _sliced(
    wkb: NDArray[np.object_], attributes: Columns, rows: int
) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    """Let go of each row that is done."""
    for start in range(0, max(len(wkb), 1), rows):
        part = slice(start, start + rows)
        yield wkb[part], {name: values[part] for name, values in attributes.items()}
        wkb[part] = None


def _footprints(
    source: Source, batches: Iterator[tuple[NDArray[np.object_], Columns]], bbox: Box | None
) -> Iterator[FootprintRows]:
    reproject = projection(source.crs, source.target)
    for wkb, attributes in batches:
        yield polygons_in(wkb, attributes, reproject=reproject, bbox=bbox, crs=source.target)


def _shapes(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make geometries, without curves and with closed rings; None where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(shapely.from_wkb(straightened(wkb), on_invalid="fix"), np.object_)


def polygons_in(
    wkb: NDArray[np.object_],
    attributes: dict[str, NDArray[np.generic]],
    *,
    reproject: Callable[[NDArray[np.object_]], NDArray[np.object_]] | None,
    crs: CRS | None,
    bbox: Box | None = None,
) -> FootprintRows:
    """Make valid polygons of rows as they are in the file.

    Args:
        wkb: (n,) bytes, or None where there is no geometry.
        attributes: (n,) of each column.
        reproject: Moves the vertices of geometries to `crs`; None where nothing has to move.
        crs: Of the polygons.
        bbox: Left, bottom, right, top: only polygons whose boxes touch it.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # NaN coordinates are expected, and counted
        polygons, row_of, repairs = repair(_shapes(wkb), reproject=reproject)
    if bbox is not None:
        near = _touches(polygons, bbox)
        polygons, row_of = polygons[near], row_of[near]
    columns = {name: values[row_of] for name, values in attributes.items()}
    return FootprintRows(polygons=polygons, columns=columns, crs=crs, repairs=repairs)


def repair(
    geometries: NDArray[np.object_],
    *,
    reproject: Callable[[NDArray[np.object_]], NDArray[np.object_]] | None = None,
) -> tuple[NDArray[np.object_], NDArray[np.int64], Repairs]:
    """Keep the polygonal parts of geometries, flat and valid.

    Args:
        geometries: (n,) shapely geometries or None.
        reproject: Applied to flat geometries before they are made valid.

    Returns:
        (m,) valid polygons, each with an area, (m,) the index of the geometry each comes from, and what
        became of the rest.
    """
    null = shapely.is_missing(geometries)
    empty = shapely.is_empty(geometries)
    origin = np.flatnonzero(~null & ~empty)
    shapes = geometries[origin]
    thick = shapely.has_z(shapes) | shapely.has_m(shapes)
    shapes[thick] = shapely.force_2d(shapes[thick])
    finite = is_finite(shapes)
    moved = shapes[finite] if reproject is None else reproject(shapes[finite])
    arrived = is_finite(moved)
    shapes = moved[arrived]
    polygonal = shapely.get_dimensions(shapes) == 2
    shapes = shapes[polygonal]
    origin = origin[finite][arrived][polygonal]
    sick = ~shapely.is_valid(shapes)
    shapes[sick] = shapely.make_valid(shapes[sick], method="structure", keep_collapsed=False)
    polygons, rows = _polygons_of(shapes)
    kept = np.zeros(len(shapes), np.bool_)
    kept[rows] = True
    return (
        polygons,
        origin[rows],
        Repairs(
            null=int(null.sum()),
            empty=int(empty.sum()),
            not_finite=int((~finite).sum() + (~arrived).sum()),
            not_polygonal=int((~polygonal).sum() + (~kept).sum()),
            flattened=int(thick.sum()),
            mended=int((sick & kept).sum()),
        ),
    )


def _polygons_of(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Take collections apart, however deep: polygons with an area, and the row each comes from."""
    rows = np.arange(len(shapes))
    while len(shapes) and (shapely.get_type_id(shapes) > _POLYGON).any():
        shapes, index = shapely.get_parts(shapes, return_index=True)
        rows = rows[index]
    keep = (shapely.get_type_id(shapes) == _POLYGON) & (shapely.area(shapes) > 0)
    return shapes[keep], rows[keep]


def _box_between(bbox: Box, target: CRS | None, source: CRS | None) -> Box | None:
    """Give the box in the file's CRS, or None where it has none there: then everything is read."""
    if source is None or target is None:
        return bbox
    to_file = Transformer.from_crs(target, source, always_xy=True)
    left, bottom, right, top = to_file.transform_bounds(*bbox, densify_pts=21)
    crosses_date_line = left > right
    if crosses_date_line or not np.isfinite([left, bottom, right, top]).all():
        return None
    return left, bottom, right, top


def _touches(polygons: NDArray[np.object_], bbox: Box) -> NDArray[np.bool_]:
    left, bottom, right, top = bbox
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    inside = (
        (bounds[:, 0] <= right) & (bounds[:, 2] >= left) & (bounds[:, 1] <= top) & (bounds[:, 3] >= bottom)
    )
    return np.asarray(inside)
