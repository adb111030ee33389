"""Polygons of a layer of any size, streamed: memory holds one batch of its rows.

GDAL gives every format it reads as an Arrow stream, from one opening of the file. What it has no driver for,
GeoParquet, comes as the same kind of stream from pyarrow.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pyogrio
from numpy.typing import NDArray

from buildmap.errors import InputError
from buildmap.vector.arrow import Columns, read_arrow
from buildmap.vector.geoparquet import is_geoparquet, read_geoparquet
from buildmap.vector.layer import Source, clear_errors
from buildmap.vector.projection import projection
from buildmap.vector.reader import FootprintRows, find_source, polygons_in

ROWS = 32_768
"""Of a batch: shapely's objects for so many footprints take some 50 MB."""
_UNNAMED_GEOMETRY = "wkb_geometry"
"""What GDAL calls a column that has no name in a format."""


def stream_batches(
    path: Path,
    *,
    crs: object | None,
    layer: str | None = None,
    columns: Sequence[str] = (),
    rows: int = ROWS,
) -> Iterator[FootprintRows]:
    """Read the polygons of a layer in a CRS of choice, so many rows at a time.

    The file is opened once and stays open; only the rows of a batch are held, whatever its size.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; None keeps the file's.
        layer: Needed where the file has several layers with polygons.
        columns: Attributes to read as well: see `read_arrow` for their types.
        rows: Rows of the file in a batch.

    Returns:
        At least one batch, though it may be empty, in the order of the file.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it is no vector file, lacks the layer or a column, or has no CRS while one was asked
            for; or, while it is read, if it is damaged.
        ResourceError: If it is GeoParquet, and pyarrow is not installed.
    """
    source = find_source(path, crs=crs, layer=layer, columns=columns)
    read = read_geoparquet if is_geoparquet(path) else _from_gdal
    return _footprints(source, read(source, columns, rows))


def _footprints(
    source: Source, batches: Iterator[tuple[NDArray[np.object_], Columns]]
) -> Iterator[FootprintRows]:
    """Make polygons of WKB, and count its rows."""
    reproject, count = projection(source.crs, source.target), 0
    for wkb, attributes in batches:
        count += len(wkb)
        yield polygons_in(wkb, attributes, reproject=reproject, crs=source.target)
    if count < source.count:  # GDAL says nothing of a GeoPackage that breaks off
        raise InputError(
            f"{source.path} is damaged: {count} of its {source.count} rows can be read",
            hint=f"ogr2ogr -skipfailures mended.gpkg '{source.path}'",
        )


def _from_gdal(
    source: Source, columns: Sequence[str], rows: int
) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    # a stream made by the FlatGeobuf driver is spoilt by a row without a geometry: seen with GDAL 3.12.4
    pyogrio.set_gdal_config_options({"OGR_FLATGEOBUF_STREAM_BASE_IMPL": True})
    with ExitStack() as opened:
        with clear_errors(source.path, source.name, source.layer):
            meta, stream = opened.enter_context(
                pyogrio.raw.open_arrow(
                    source.name, layer=source.layer, columns=list(columns), batch_size=rows
                )
            )
        batches = opened.enter_context(closing(read_arrow(stream, str(source.path))))
        del stream
        while True:
            with clear_errors(source.path, source.name, source.layer):
                batch = next(batches, None)
                if batch is None:
                    return
            yield (
                batch[meta["geometry_name"] or _UNNAMED_GEOMETRY],
                {name: batch[name] for name in columns},
            )
