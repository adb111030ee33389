"""Layers as GeoParquet 1.1, a row group at a time; for this pyarrow has to be installed."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from buildmap.errors import ResourceError
from buildmap.publish import write_failure
from buildmap.vector.crs import needed_crs
from buildmap.vector.writing.part_file import part_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_ROWS_IN_A_GROUP = 65_536


class GeoParquet:
    """A GeoParquet file in the making: a `LayerSink` of one layer.

    Every row has its bounding box in column `bbox`, by which readers skip the row groups they do not need.
    """

    def __init__(self, path: Path, *, crs: object | None) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: What pyproj understands as a CRS, or an object with `to_wkt`.

        Raises:
            InputError: If there is no CRS.
            ResourceError: If pyarrow is not installed.
        """
        self.path = path
        self._crs = needed_crs(crs).to_json_dict()
        try:
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ModuleNotFoundError as error:
            raise ResourceError(
                "pyarrow is not installed, without which there is no GeoParquet",
                hint="pip install 'buildmap[parquet]'",
            ) from error
        self._file: Any = None
        self._layer: str | None = None
        self._metadata: dict[str, str] = {}
        self._bounds = np.full(4, np.nan)

    def append(
        self,
        layer: str,
        wkb: "NDArray[np.object_]",
        columns: "Mapping[str, NDArray[np.generic]]",
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Add polygons to the one layer: see `LayerSink`."""
        if self._layer not in {None, layer}:
            raise ValueError(f"a second layer '{layer}' after '{self._layer}'")
        self._layer = layer
        self._metadata |= metadata or {}
        for start in range(0, max(len(wkb), 1), _ROWS_IN_A_GROUP):
            rows = slice(start, start + _ROWS_IN_A_GROUP)
            self._append_group(wkb[rows], {name: values[rows] for name, values in columns.items()})

    def finish(self, counts: Mapping[str, int]) -> None:
        """Write what the file is about at its end, and count the rows: see `LayerSink`."""
        count = counts[str(self._layer)]
        self._file.add_key_value_metadata({"geo": json.dumps(self._geo()), **self._metadata})
        with part_file(self.path, ".parquet") as part:
            try:
                self._file.close()
                with part.open("rb") as file:
                    stored = self._parquet.read_metadata(file).num_rows
            except (OSError, self._arrow.ArrowException) as error:
                raise write_failure(self.path, str(error)) from error
            if stored != count:
                raise write_failure(self.path, f"{stored} of {count} footprints arrived")
            part.rename(part.with_name(self.path.name))

    def _append_group(self, wkb: "NDArray[np.object_]", columns: "Mapping[str, NDArray[np.generic]]") -> None:
        bounds = shapely.bounds(shapely.from_wkb(wkb)).reshape(-1, 4)
        self._bounds = _union(self._bounds, bounds)
        table = self._table(wkb, columns, bounds)
        try:
            if self._file is None:
                with part_file(self.path, ".parquet") as part:
                    self._file = self._parquet.ParquetWriter(str(part), table.schema, compression="zstd")
            self._file.write_table(table)
        except OSError as error:
            raise write_failure(self.path, str(error)) from error

    def _table(
        self,
        wkb: "NDArray[np.object_]",
        columns: "Mapping[str, NDArray[np.generic]]",
        bounds: "NDArray[np.float64]",
    ) -> Any:
        arrow = self._arrow
        arrays = {
            name: arrow.array(values, arrow.string() if values.dtype == object else None)
            for name, values in columns.items()
        }
        arrays["bbox"] = arrow.StructArray.from_arrays([arrow.array(side) for side in bounds.T], _SIDES)
        arrays["geometry"] = arrow.array(wkb, arrow.binary())
        return arrow.table(arrays)

    def _geo(self) -> dict[str, Any]:
        """Give what GeoParquet wants said of the file."""
        geometry: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": self._crs,
            "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
        }
        if np.isfinite(self._bounds).all():
            geometry["bbox"] = self._bounds.tolist()
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}


def _union(one: "NDArray[np.float64]", boxes: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Give the box around a box, NaN where there is none yet, and others."""
    every = np.vstack([one, boxes])
    return np.concatenate([np.fmin.reduce(every[:, :2]), np.fmax.reduce(every[:, 2:])])
