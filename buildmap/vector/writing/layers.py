"""Polygon layers in one GeoPackage, read back before anyone else sees the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from buildmap.errors import OutputError
from buildmap.publish import write_failure
from buildmap.vector.crs import needed_crs
from buildmap.vector.writing.formats import check_format
from buildmap.vector.writing.part_file import drop_leftovers, part_file

_RESERVED = ("gpkg", "sqlite_", "rtree_", "layer_styles")
_ROWS_AT_A_TIME = 65_536
_VERSION = "1.2"
"""Of GeoPackage: nothing of a later one is used, and GDAL before 3.7 warns of 1.4 whenever it reads one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Polygons, and what is known of each."""

    polygons: NDArray[np.object_]
    """(n,) polygons in the CRS of the file; n may be 0."""
    columns: dict[str, NDArray[np.generic]]
    """(n,) numbers, truth values or text, by name."""

    def __post_init__(self) -> None:
        for name, values in self.columns.items():
            if values.shape != self.polygons.shape:
                raise ValueError(f"{len(self.polygons)} polygons, column {name} is {values.shape}")


class GeoPackage:
    """A GeoPackage in the making; it gets its name when all that was written has arrived."""

    def __init__(self, path: Path, *, crs: object | None, indexed: bool = True) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: What pyproj understands as a CRS, or an object with `to_wkt`.
            indexed: Keep a spatial index of every layer.

        Raises:
            InputError: If there is no CRS.
        """
        self.path = path
        self._crs = needed_crs(crs).to_wkt()
        self._indexed = indexed
        self._begun: set[str] = set()

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
            layer: Name of the layer.
            wkb: (n,) polygons; n may be 0.
            columns: (n,) values by name, the same for every part of a layer.
            metadata: Of the layer; only its first part may bring some.

        Raises:
            StorageError: If the disk is full or fails.
        """
        self._write(
            layer,
            wkb,
            columns,
            geometry_type="Polygon",
            crs=self._crs,
            layer_metadata=None if metadata is None else dict(metadata),
            layer_options={} if layer in self._begun else {"SPATIAL_INDEX": "YES" if self._indexed else "NO"},
        )

    def append_table(self, table: str, columns: Mapping[str, NDArray[np.generic]]) -> None:
        """Add rows without geometry to a table, which is made where it is new.

        Args:
            table: Name of the table.
            columns: (n,) values by name.

        Raises:
            StorageError: If the disk is full or fails.
        """
        self._write(table, None, columns)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Read back how many polygons there are, and rename the file.

        Args:
            counts: What each layer must hold.

        Raises:
            StorageError: If the disk fails, or polygons did not arrive.
        """
        with part_file(self.path, ".gpkg") as file:
            for layer, count in counts.items():
                try:
                    stored = pyogrio.read_info(file, layer=layer, force_feature_count=True)["features"]
                except (DataSourceError, DataLayerError) as error:
                    raise write_failure(self.path, str(error)) from error
                if stored != count:
                    reason = f"{stored} of {count} footprints arrived in layer '{layer}'"
                    raise write_failure(self.path, reason)
            file.rename(file.with_name(self.path.name))

    def _write(
        self,
        layer: str,
        wkb: NDArray[np.object_] | None,
        columns: Mapping[str, NDArray[np.generic]],
        **options: object,
    ) -> None:
        if not self._begun:
            drop_leftovers(self.path, ".gpkg")
            options["VERSION"] = _VERSION
        with part_file(self.path, ".gpkg") as file:
            try:
                pyogrio.raw.write(
                    file,
                    wkb,
                    list(columns.values()),
                    list(columns),
                    layer=layer,
                    driver="GPKG",
                    append=layer in self._begun,
                    **options,
                )
            except (DataSourceError, DataLayerError, FeatureError) as error:
                raise write_failure(self.path, str(error)) from error
        self._begun.add(layer)


def check_layer_name(name: str) -> None:
    """Refuse a name that GeoPackage or QGIS keeps for itself.

    Raises:
        OutputError: If it does, or the name is blank.
    """
    if not name.strip() or name.lower().startswith(_RESERVED):
        raise OutputError(f"a GeoPackage cannot have a layer '{name}'", hint="choose another --layer")


def write_layers(path: Path, layers: Mapping[str, Layer], *, crs: object | None) -> None:
    """Write layers into a new GeoPackage, the empty ones too, with their columns.

    Args:
        path: New file, in a folder of our own: see `publish.staged`.
        layers: At least one, by name.
        crs: What pyproj understands as a CRS, or an object with `to_wkt`.

    Raises:
        OutputError: If the format is another, or GeoPackage cannot have such a layer.
        InputError: If there is no CRS.
        StorageError: If the disk is full or fails.
    """
    if not layers:
        raise ValueError("no layers to write")
    check_format(path)
    for name in layers:
        check_layer_name(name)
    package = GeoPackage(path, crs=crs)
    for name, layer in layers.items():
        for start in range(0, max(len(layer.polygons), 1), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            wkb = np.asarray(shapely.to_wkb(layer.polygons[part]), np.object_)
            package.append(name, wkb, {column: values[part] for column, values in layer.columns.items()})
    package.finish({name: len(layer.polygons) for name, layer in layers.items()})
