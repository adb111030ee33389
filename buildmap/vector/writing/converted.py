"""Layers in formats that cannot grow: kept in a GeoPackage until all is there, then written in one go.

GDAL hands the rows over in Arrow batches, so memory does not follow their number.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from buildmap.publish import write_failure
from buildmap.vector.writing.formats import FLATGEOBUF, PMTILES, Format
from buildmap.vector.writing.layers import GeoPackage
from buildmap.vector.writing.part_file import drop_leftovers, part_file
from buildmap.vector.writing.tiles import MAX_ZOOM, MIN_ZOOM, empty_archive

_MOST_INDEXED = 1_000_000
"""GDAL keeps 130 bytes in memory for each footprint in the index of a FlatGeobuf."""


class ConvertedLayer:
    """A file of any format that GDAL writes, in the making: a `LayerSink` of one layer.

    A FlatGeobuf has a spatial index unless it is very large. Tiles are a drawing of the layer, cut at
    their borders and rounded, to be looked at.
    """

    def __init__(self, path: Path, *, crs: object | None, kind: Format) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: What pyproj understands as a CRS, or an object with `to_wkt`.
            kind: Named as GDAL names it.

        Raises:
            InputError: If there is no CRS.
        """
        self.path = path
        self._kind = kind
        self._spool = GeoPackage(path.with_name("spool.gpkg"), crs=crs, indexed=False)
        self._layer: str | None = None
        self._metadata: dict[str, str] = {}

    def append(
        self,
        layer: str,
        wkb: NDArray[np.object_],
        columns: Mapping[str, NDArray[np.generic]],
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Add polygons to the one layer: see `LayerSink`."""
        if self._layer not in {None, layer}:
            raise ValueError(f"a second layer '{layer}' after '{self._layer}'")
        self._layer = layer
        self._metadata |= metadata or {}
        self._spool.append("spool", wkb, columns)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Write the file from the spool, and read it back: see `LayerSink`."""
        count = counts[str(self._layer)]
        self._spool.finish({"spool": count})
        drop_leftovers(self.path, self._kind.suffixes[0])
        with part_file(self.path, self._kind.suffixes[0]) as part:
            try:
                arrived = (
                    self._write_tiles(part, count) if self._kind == PMTILES else self._write(part, count)
                )
            except (DataSourceError, DataLayerError) as error:
                raise write_failure(self.path, str(error)) from error
            if not arrived:
                raise write_failure(self.path, f"not all of {count} footprints arrived")
            part.rename(part.with_name(self.path.name))
        self._spool.path.unlink()

    def _write(self, part: Path, count: int) -> bool:
        """Make the file, and tell whether every polygon can be read."""
        indexed = {"SPATIAL_INDEX": "YES" if count <= _MOST_INDEXED else "NO"}
        self._convert(part, **(indexed if self._kind == FLATGEOBUF else {}))
        return _count(part) == count and (not count or _is_there(part, count - 1))

    def _write_tiles(self, part: Path, count: int) -> bool:
        """Make the tiles; those of the last zoom show every polygon, and some in several tiles."""
        if count:
            told = {"NAME": str(self._layer), "DESCRIPTION": self._metadata.get("BUILDMAP", "")}
            self._convert(part, MINZOOM=str(MIN_ZOOM), MAXZOOM=str(MAX_ZOOM), **told)
        else:
            info = pyogrio.read_info(part.with_name("spool.gpkg"), layer="spool")
            fields = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
            part.write_bytes(empty_archive(str(self._layer), fields))
        return _count(part) >= count

    def _convert(self, part: Path, **options: str) -> None:
        with pyogrio.raw.open_arrow(part.with_name("spool.gpkg"), layer="spool") as (meta, rows):
            pyogrio.raw.write_arrow(
                rows,
                part,
                layer=self._layer,
                driver=self._kind.name,
                geometry_name=meta["geometry_name"],
                geometry_type="Polygon",
                crs=meta["crs"],
                layer_metadata=self._metadata,
                **options,
            )


def _count(part: Path) -> int:
    return int(pyogrio.read_info(part, force_feature_count=True)["features"])


def _is_there(part: Path, last: int) -> bool:
    """Tell whether all polygons up to one can be read; a header alone may count some that are not there."""
    try:
        return len(pyogrio.raw.read(part, skip_features=last, max_features=1)[2]) == 1
    except ValueError:  # what skipping raises
        return False
