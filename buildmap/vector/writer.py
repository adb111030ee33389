"""Writing footprints batch by batch into a GeoPackage, checked before anyone else sees it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from buildmap.errors import InputError, OutputError, StorageError
from buildmap.provenance import Provenance
from buildmap.vector.crs import as_crs
from buildmap.vector.footprint import FootprintBatch
from buildmap.vector.formats import check_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = {
    "footprint_id": np.int64,
    "area_m2": np.float64,
    "perimeter_m": np.float64,
    "confidence": np.float64,
}
_HELD_BYTES = 2**25
_RESERVED = ("gpkg", "sqlite_", "rtree_")


class FootprintWriter:
    """A GeoPackage in the making; a context manager that checks the file when all went well.

    The layer is valid, with its columns and CRS, also where nothing was written. Memory does not follow the
    number of footprints.
    """

    def __init__(
        self,
        path: Path,
        *,
        crs: object | None,
        layer: str = "footprints",
        provenance: Provenance | None = None,
    ) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: What pyproj understands as a CRS, or an object with `to_wkt`.
            layer: Name of the layer.
            provenance: Stored as metadata `BUILDMAP` of the layer; of the file, every reader would leave
                an `.aux.xml`.

        Raises:
            OutputError: If the format cannot grow batch by batch, or GeoPackage cannot have such a layer.
            InputError: If there is no CRS.
        """
        check_format(path)
        if not layer.strip() or layer.lower().startswith(_RESERVED):
            raise OutputError(f"a GeoPackage cannot have a layer '{layer}'", hint="choose another --layer")
        if crs is None:
            raise InputError(
                "a layer without a CRS is of no use",
                hint="give the raster one: rio edit-info --crs EPSG:CODE RASTER",
            )
        self.path = path
        self.count = 0
        self._crs = as_crs(crs).to_wkt()
        self._layer = layer
        self._metadata = None if provenance is None else {"BUILDMAP": provenance.to_json()}
        self._held: list[tuple[NDArray[np.object_], list[NDArray[np.generic]]]] = []
        self._held_bytes = 0
        self._begun = False

    def __enter__(self) -> "FootprintWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()

    def write(self, batch: FootprintBatch) -> None:
        """Add footprints.

        Raises:
            StorageError: If the disk is full or fails.
        """
        wkb = np.asarray(shapely.to_wkb(batch.polygons), np.object_)
        self._held.append((wkb, [getattr(batch, name) for name in _COLUMNS]))
        self._held_bytes += sum(map(len, wkb))
        self.count += len(batch)
        if self._held_bytes >= _HELD_BYTES:
            self._append()

    def write_gaps(self, polygons: "NDArray[np.object_]") -> None:
        """Add a layer `gaps`: where nothing is known, (n,) polygons.

        Raises:
            StorageError: If the disk is full or fails.
        """
        if not self._begun:
            self._append()
        with self._file() as file:
            try:
                pyogrio.raw.write(
                    file,
                    np.asarray(shapely.to_wkb(polygons), np.object_),
                    [],
                    [],
                    layer="gaps",
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=self._crs,
                    append=True,
                )
            except (DataSourceError, DataLayerError, FeatureError) as error:
                raise self._failure(str(error)) from error

    def finish(self) -> None:
        """Write what is held, and read the number of footprints back.

        Raises:
            StorageError: If the disk is full or fails.
        """
        if self._held or not self._begun:
            self._append()
        with self._file() as file:
            try:
                stored = pyogrio.read_info(file, layer=self._layer, force_feature_count=True)["features"]
            except (DataSourceError, DataLayerError) as error:
                raise self._failure(str(error)) from error
            if stored != self.count:
                raise self._failure(f"{stored} of {self.count} footprints arrived")
            file.rename(file.with_name(self.path.name))

    def _append(self) -> None:
        """Write what is held; the spatial index is made in one go after the first part, then kept."""
        wkb = np.concatenate([np.empty(0, np.object_), *(wkb for wkb, _ in self._held)])
        columns = [
            np.concatenate([np.empty(0, kind), *(values[number] for _, values in self._held)])
            for number, kind in enumerate(_COLUMNS.values())
        ]
        with self._file() as file:
            try:
                pyogrio.raw.write(
                    file,
                    wkb,
                    columns,
                    list(_COLUMNS),
                    layer=self._layer,
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=self._crs,
                    append=self._begun,
                    layer_metadata=None if self._begun else self._metadata,
                )
            except (DataSourceError, DataLayerError, FeatureError) as error:
                raise self._failure(str(error)) from error
        self._held, self._held_bytes, self._begun = [], 0, True

    def _failure(self, reason: str) -> StorageError:
        free_mb = shutil.disk_usage(self.path.parent).free // 2**20
        return StorageError(f"cannot write {self.path}: {reason}", hint=f"{free_mb} MB are free there")

    @contextmanager
    def _file(self) -> Iterator[Path]:
        """Lend the unfinished file under a name in which pyogrio finds nothing to interpret."""
        with tempfile.TemporaryDirectory(prefix="buildmap-") as folder:
            link = Path(folder) / "output"
            link.symlink_to(self.path.parent.absolute(), target_is_directory=True)
            yield link / "part.gpkg"
