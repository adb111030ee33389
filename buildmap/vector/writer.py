"""Writing footprints batch by batch into a GeoPackage, checked before anyone else sees it."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import shapely

from buildmap.provenance import Provenance
from buildmap.vector.footprint import FootprintBatch
from buildmap.vector.layers import GeoPackage, check_layer_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = {
    "footprint_id": np.int64,
    "area_m2": np.float64,
    "perimeter_m": np.float64,
    "confidence": np.float64,
}
_HELD_BYTES = 2**25


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
        self._package = GeoPackage(path, crs=crs)
        check_layer_name(layer)
        self.count = 0
        self._layer = layer
        self._metadata = None if provenance is None else {"BUILDMAP": provenance.to_json()}
        self._held: list[tuple[NDArray[np.object_], list[NDArray[np.generic]]]] = []
        self._held_bytes = 0
        self._begun = False
        self._gaps: dict[str, int] = {}

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
        self._package.append("gaps", np.asarray(shapely.to_wkb(polygons), np.object_), {})
        self._gaps["gaps"] = self._gaps.get("gaps", 0) + len(polygons)

    def finish(self) -> None:
        """Write what is held, and read the number of footprints back.

        Raises:
            StorageError: If the disk is full or fails.
        """
        if self._held or not self._begun:
            self._append()
        self._package.finish({self._layer: self.count, **self._gaps})

    def _append(self) -> None:
        """Write what is held."""
        wkb = np.concatenate([np.empty(0, np.object_), *(wkb for wkb, _ in self._held)])
        columns = {
            name: np.concatenate([np.empty(0, kind), *(values[number] for _, values in self._held)])
            for number, (name, kind) in enumerate(_COLUMNS.items())
        }
        metadata = None if self._begun else self._metadata
        self._package.append(self._layer, wkb, columns, metadata=metadata)
        self._held, self._held_bytes, self._begun = [], 0, True
