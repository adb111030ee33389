"""Reading GeoParquet as a stream of rows; GDAL in Python wheels has no driver for it, pyarrow does."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError, ResourceError
from buildmap.vector.arrow import ArrowStreamable, Columns, read_arrow
from buildmap.vector.crs import as_crs
from buildmap.vector.layer import Source, check_columns, target_crs
from buildmap.vector.locating import locate
from buildmap.vector.writing.formats import PARQUET

_GEOMETRY = ""
"""Name of the column of the stream with the geometries as WKB; no attribute is called so."""
_DEFAULT_CRS = "OGC:CRS84"


def is_geoparquet(path: Path) -> bool:
    """Tell by its name whether a file is GeoParquet."""
    return path.suffix.lower() in PARQUET.suffixes


def find_geoparquet(path: Path, *, crs: object | None, layer: str | None, columns: Sequence[str]) -> Source:
    """Look a file up before it is read.

    Args:
        path: GeoParquet with WKB.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        layer: Has to be None: there are no layers in it.
        columns: Attributes it has to have.

    Returns:
        With the column of its geometry as `layer`.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no GeoParquet, lacks a column, or has no CRS while one was asked for.
        ResourceError: If pyarrow is not installed.
    """
    located = locate(path)
    if layer is not None:
        raise InputError(f"{path} has no layers, '{layer}' was asked for", hint="leave --layer out")
    with _clear_errors(path), _open(located) as file:
        schema, metadata = file.schema_arrow, file.metadata
    geometry, own = _described(path, (metadata.metadata or {}).get(b"geo"), schema.names)
    known = tuple(field.name for field in schema if field.name != geometry and not _is_nested(field.type))
    check_columns(path, columns, known)
    return Source(
        path=path,
        name=located,
        layer=geometry,
        crs=own,
        target=target_crs(path, own, crs),
        columns=known,
        count=metadata.num_rows,
    )


def read_geoparquet(
    source: Source, columns: Sequence[str], rows: int
) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    """Read a file's rows, so many at a time; a row group is held.

    Args:
        source: By `find_geoparquet`.
        columns: Attributes to read as well: see `read_arrow` for their types.
        rows: Of a batch.

    Yields:
        WKB, (n,) bytes or None, and the attributes, (n,) of each column; at least one batch.

    Raises:
        InputError: If the file is not what it was.
    """
    for batch in read_arrow(_stream(source, columns, rows), str(source.path)):
        yield batch[_GEOMETRY], {name: batch[name] for name in columns}


def _stream(source: Source, columns: Sequence[str], rows: int) -> ArrowStreamable:
    """Give the geometry as column `_GEOMETRY`, and the attributes."""
    arrow = _pyarrow("pyarrow")
    with _clear_errors(source.path):
        file = _open(source.name)
    fields = [(_GEOMETRY, arrow.large_binary())]
    fields += [(name, _plain(file.schema_arrow.field(name).type)) for name in columns]
    schema = arrow.schema(fields)

    def batches() -> Iterator[Any]:
        with file:
            for batch in file.iter_batches(rows, columns=[source.layer, *columns]):
                read = [batch.column(name) for name in (source.layer, *columns)]
                arrays = [array.cast(kind) for array, kind in zip(read, schema.types, strict=True)]
                yield arrow.record_batch(arrays, schema=schema)

    stream: ArrowStreamable = arrow.RecordBatchReader.from_batches(schema, batches())
    return stream


def _described(path: Path, geo: bytes | None, names: Sequence[str]) -> tuple[str, CRS | None]:
    """Give the column with the geometry, and its CRS."""
    if geo is None:
        raise InputError(f"{path} is Parquet without geometries: it has no 'geo' in its metadata")
    try:
        described = json.loads(geo)
        geometry = described["primary_column"]
        column = described["columns"][geometry]
        encoding, crs = column["encoding"], column.get("crs", _DEFAULT_CRS)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no GeoParquet: its 'geo' metadata is not understood") from error
    if encoding != "WKB" or geometry not in names:
        raise InputError(f"{path} has no column with WKB: '{geometry}' is said to be {encoding}")
    return geometry, None if crs is None else as_crs(crs)


def _is_nested(kind: Any) -> bool:
    """Tell whether a column holds structures or lists, such as the boxes around polygons: no attributes."""
    return bool(_pyarrow("pyarrow.types").is_nested(kind))


def _plain(kind: Any) -> Any:
    """Give the type of the values of what may be a dictionary of them."""
    return kind.value_type if _pyarrow("pyarrow.types").is_dictionary(kind) else kind


def _open(name: str) -> Any:
    return _pyarrow("pyarrow.parquet").ParquetFile(name)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    arrow = _pyarrow("pyarrow")
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as GeoParquet: {error}") from error


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ResourceError(
            "pyarrow is not installed, without which GeoParquet cannot be read",
            hint="pip install 'buildmap[parquet]'",
        ) from error
