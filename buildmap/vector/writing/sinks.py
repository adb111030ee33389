"""Where footprints go: one small interface over all formats, one file at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.writing.converted import ConvertedLayer
from buildmap.vector.writing.formats import GEOJSON_SEQ, GPKG, PARQUET, Format
from buildmap.vector.writing.geojson import GeoJSONSequence
from buildmap.vector.writing.layers import GeoPackage
from buildmap.vector.writing.parquet import GeoParquet


class LayerSink(Protocol):
    """A file of layers in the making, in a folder of our own; memory does not follow the number of rows."""

    def append(
        self,
        layer: str,
        wkb: NDArray[np.object_],
        columns: Mapping[str, NDArray[np.generic]],
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Add polygons to a layer, which is made where it is new.

        Args:
            layer: Name of the layer; only some formats have room for a second.
            wkb: (n,) polygons; n may be 0.
            columns: (n,) numbers, truth values or text by name, the same for every part of a layer.
            metadata: Of the layer; only its first part may bring some.

        Raises:
            StorageError: If the disk is full or fails.
        """

    def finish(self, counts: Mapping[str, int]) -> None:
        """Read the file back, and give it its name.

        Args:
            counts: How many polygons each layer must hold; every layer was begun.

        Raises:
            StorageError: If the disk fails, or polygons did not arrive.
        """


def sink_for(path: Path, kind: Format, *, crs: object | None) -> LayerSink:
    """Begin a file.

    Args:
        path: New file, in a folder of our own: see `publish.staged`.
        kind: Its format.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`; of a format that has but one,
            this one.

    Raises:
        InputError: If there is no CRS.
        ResourceError: If a library is missing for this format.
    """
    if kind == GPKG:
        return GeoPackage(path, crs=crs)
    if kind == GEOJSON_SEQ:
        return GeoJSONSequence(path, crs=crs)
    if kind == PARQUET:
        return GeoParquet(path, crs=crs)
    return ConvertedLayer(path, crs=crs, kind=kind)
