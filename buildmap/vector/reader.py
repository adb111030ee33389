"""Reading polygons from any vector file, repaired; what cannot be used is dropped and counted."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from pyproj import CRS, Transformer

from buildmap.errors import InputError
from buildmap.schema import did_you_mean
from buildmap.vector.crs import as_crs
from buildmap.vector.locating import locate
from buildmap.vector.projection import is_finite, projection
from buildmap.vector.writing.formats import GAPS_LAYER, VALID_LAYER

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
_POLYGON = 3
_POLYGONAL_LAYERS = re.compile("Polygon|Surface|Unknown|GeometryCollection|TIN")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A layer that is there, with all that was asked of it."""

    path: Path
    """As the user wrote it."""
    name: str
    """As GDAL has to be told."""
    layer: str
    """Its name in the file."""
    crs: CRS | None
    """Of the file; None where nothing says."""
    target: CRS | None
    """That the polygons shall have; None where nothing says."""
    columns: tuple[str, ...]
    """Names of all attributes."""
    count: int
    """Rows the file says it has; -1 where it does not."""


def read_footprints(
    path: Path,
    *,
    crs: object | None,
    bbox: Box | None = None,
    layer: str | None = None,
) -> Footprints:
    """Read the polygons of a layer in a CRS of choice.

    Args:
        path: Any vector file GDAL reads.
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
    take nine times as much.

    Args:
        path: Any vector file GDAL reads.
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
    """
    source = find_layer(path, crs=crs, layer=layer, columns=columns)
    same = source.crs == source.target
    box = bbox if bbox is None or same else _box_between(bbox, source.target, source.crs)
    with clear_errors(path, source.name, source.layer):
        meta, _, wkb, values = pyogrio.raw.read(
            source.name, layer=source.layer, columns=list(columns), bbox=box
        )
    attributes = dict(zip(meta["fields"].tolist(), values, strict=True))
    del values
    return _batches(wkb, attributes, source=source, bbox=bbox, rows=rows)


def find_layer(
    path: Path, *, crs: object | None, layer: str | None = None, columns: Sequence[str] = ()
) -> Source:
    """Look a layer up before it is read.

    Args:
        path: Any vector file GDAL reads.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        layer: Needed where the file has several layers with polygons.
        columns: Attributes it has to have.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer or a column, or has no CRS while one was asked
            for.
    """
    name = locate(path)
    chosen = layer if layer is not None else _only_layer(path, name)
    with clear_errors(path, name, chosen):
        info = pyogrio.read_info(name, layer=chosen)
    known = tuple(info["fields"].tolist())
    check_columns(path, columns, known)
    own = None if info["crs"] is None else as_crs(info["crs"])
    target = target_crs(path, own, crs)
    return Source(
        path=path,
        name=name,
        layer=chosen,
        crs=own,
        target=target,
        columns=known,
        count=int(info["features"]),
    )


def target_crs(path: Path, own: CRS | None, asked: object | None) -> CRS | None:
    """Give the CRS that the polygons of a file shall have.

    Raises:
        InputError: If one was asked for and the file has none, or it is no CRS.
    """
    target = own if asked is None else as_crs(asked)
    if target is not None and own is None and asked is not None:
        raise InputError(
            f"{path} has no CRS, {target.name} was asked for",
            hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{path}'",
        )
    return target


def read_unrepaired(
    path: Path, *, layer: str | None = None, rows: int = 65_536
) -> Iterator[NDArray[np.object_]]:
    """Read the geometries of a layer as they are in the file, whatever is wrong with them.

    Args:
        path: Any vector file GDAL reads.
        layer: Needed where the file has several layers with polygons.
        rows: Rows of the file in a batch.

    Yields:
        (n,) shapely geometries or None; rings that are not closed are closed.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, or lacks the layer.
    """
    source = locate(path)
    name = layer if layer is not None else _only_layer(path, source)
    with clear_errors(path, source, name):
        wkb = pyogrio.raw.read(source, layer=name, columns=[])[2]
    for start in range(0, len(wkb), rows):
        with np.errstate(invalid="ignore", over="ignore"):
            shapes = np.asarray(shapely.from_wkb(wkb[start : start + rows], on_invalid="fix"), np.object_)
        wkb[start : start + rows] = None
        yield shapes


def layer_names(path: Path) -> tuple[str, ...]:
    """Name the layers of a file, those without polygons too.

    Args:
        path: Any vector file GDAL reads.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file.
    """
    return tuple(_layers(path, locate(path)))


def column_names(path: Path, layer: str | None = None) -> tuple[str, ...]:
    """Name the attributes of a layer.

    Args:
        path: Any vector file GDAL reads.
        layer: Needed where the file has several layers with polygons.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, or lacks the layer.
    """
    source = locate(path)
    name = layer if layer is not None else _only_layer(path, source)
    with clear_errors(path, source, name):
        return tuple(pyogrio.read_info(source, layer=name)["fields"].tolist())


def _batches(
    wkb: NDArray[np.object_],
    attributes: dict[str, NDArray[np.generic]],
    *,
    source: Source,
    bbox: Box | None,
    rows: int,
) -> Iterator[FootprintRows]:
    """Make polygons of the rows of a file, and let go of each row that is done."""
    reproject = projection(source.crs, source.target)
    for start in range(0, max(len(wkb), 1), rows):
        part = slice(start, start + rows)
        yield polygons_in(
            wkb[part],
            {name: values[part] for name, values in attributes.items()},
            reproject=reproject,
            bbox=bbox,
            crs=source.target,
        )
        wkb[part] = None


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

    Raises:
        NotImplementedError: If there are curves.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # NaN coordinates are expected, and counted
        shapes = np.asarray(shapely.from_wkb(wkb, on_invalid="fix"), np.object_)
        polygons, row_of, repairs = repair(shapes, reproject=reproject)
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


def check_columns(path: Path, asked: Sequence[str], known: tuple[str, ...]) -> None:
    """Refuse a column that is not there, and name those that are.

    Raises:
        InputError: If one is not there.
    """
    for name in asked:
        if name not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"{path} has no column '{name}': {listed}", hint=did_you_mean(name, list(known)))


@contextmanager
def clear_errors(path: Path, source: str, layer: str) -> Iterator[None]:
    """Turn what pyogrio says into what the user can act on."""
    try:
        with _rings_closed():
            yield
    except (DataSourceError, FeatureError, GeometryError) as error:
        raise _unreadable(path, error) from error
    except DataLayerError as error:
        names = ", ".join(_layers(path, source))
        raise InputError(f"{path} has no layer '{layer}'", hint=f"its layers: {names}") from error


@contextmanager
def _rings_closed() -> Iterator[None]:
    """Say nothing of rings that GDAL closes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non closed ring", RuntimeWarning)
        yield


def _layers(path: Path, source: str) -> dict[str, str | None]:
    """Give the layers of a file and their geometry types."""
    try:
        with _rings_closed():
            listed = pyogrio.list_layers(source)
    except DataSourceError as error:
        raise _unreadable(path, error) from error
    return {str(name): kind for name, kind in listed}


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).partition("; It might help")[0]  # pyogrio's advice is for its own callers
    return InputError(f"{path} cannot be read as a vector file: {reason}")


def _only_layer(path: Path, source: str) -> str:
    """Choose the layer with polygons where no other could be meant: not what lies beside footprints."""
    layers = _layers(path, source)
    able = [name for name, kind in layers.items() if kind is not None and _POLYGONAL_LAYERS.search(kind)]
    if not able:
        kinds = ", ".join(f"{name}: {kind}" for name, kind in layers.items()) or "no layers"
        raise InputError(f"{path} has no layer with polygons ({kinds})")
    able = [name for name in able if name not in {VALID_LAYER, GAPS_LAYER}] or able
    if len(able) > 1:
        raise InputError(
            f"{path} has {len(able)} layers with polygons", hint=f"choose one of: {', '.join(able)}"
        )
    return able[0]
