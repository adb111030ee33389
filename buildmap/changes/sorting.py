"""A layer of any size, sorted from north to south into strips of ground, on disk."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from buildmap.changes.buildings import Buildings, buildings_of
from buildmap.changes.strip_files import Chunks, ChunkWriter, read_chunks
from buildmap.vector.batches import stream_batches
from buildmap.vector.reader import Box, Repairs


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedLayer:
    """The buildings of a layer, by strips; `sort_layer` makes it."""

    path: Path
    """File with the buildings."""
    chunks: Chunks
    """Where they are in it."""
    types: dict[str, np.dtype[Any]]
    """Of the columns."""
    count: int
    """Buildings in all; their rows are 0 to here."""
    repairs: Repairs
    """What was repaired or dropped."""
    bounds: Box | None
    """Box around all in the working CRS; None where there is no building."""

    def strips(self) -> Iterator[tuple[int, Buildings]]:
        """Give the strips that have buildings, from north to south, and their buildings by row."""
        for number in np.unique(self.chunks.strip)[::-1].tolist():
            yield number, self.strip(number)

    def strip(self, number: int) -> Buildings:
        """Give the buildings of a strip, by row: those whose top is in it.

        Raises:
            OSError: If the disk fails.
        """
        return read_chunks(self.path, self.chunks.of(number), self.types)


def sort_layer(
    path: Path,
    folder: Path,
    *,
    crs: CRS,
    strip_height: float,
    layer: str | None = None,
    columns: Sequence[str] = (),
) -> SortedLayer:
    """Read a layer once, and keep its polygons by strips; memory holds a batch of rows.

    A polygon is in strip `floor(top / strip_height)`.

    Args:
        path: Any vector file GDAL reads, or GeoParquet.
        folder: Private; the polygons take some 150 bytes each there. The caller removes it.
        crs: Working CRS.
        strip_height: In units of this CRS.
        layer: Needed where the file has several layers with polygons.
        columns: Attributes to carry along: see `read_arrow` for their types.

    Raises:
        ValueError: If the strips have no height.
        MissingInput: If there is no such file.
        InputError: If it is no vector file, is damaged, has no CRS, or lacks the layer or a column.
        ResourceError: If it is GeoParquet, and pyarrow is not installed.
        OSError: If the disk refuses the polygons.
    """
    if not 0 < strip_height < np.inf:
        raise ValueError(f"strips are {strip_height} high")
    batches = stream_batches(path, crs=crs, layer=layer, columns=columns)
    descriptor, name = tempfile.mkstemp(".strips", dir=folder)
    count, repairs, bounds = 0, Repairs(), np.array([np.inf, np.inf, -np.inf, -np.inf])
    types: dict[str, np.dtype[Any]] = {}
    with os.fdopen(descriptor, "wb") as file:
        writer = ChunkWriter(file)
        for batch in batches:
            rows = np.arange(count, count + len(batch.polygons))
            buildings = buildings_of(batch.polygons, rows, batch.columns)
            boxes = buildings.store.bounds
            writer.append(np.floor(boxes[:, 3] / strip_height).astype(np.int64), buildings)
            count += len(buildings)
            repairs += batch.repairs
            bounds[:2] = np.minimum(bounds[:2], boxes[:, :2].min(axis=0, initial=np.inf))
            bounds[2:] = np.maximum(bounds[2:], boxes[:, 2:].max(axis=0, initial=-np.inf))
            types = {
                key: np.result_type(values, types.get(key, values.dtype))
                for key, values in buildings.columns.items()
            }
    left, bottom, right, top = bounds.tolist()
    return SortedLayer(
        path=Path(name),
        chunks=writer.chunks(),
        types=types,
        count=count,
        repairs=repairs,
        bounds=(left, bottom, right, top) if count else None,
    )
