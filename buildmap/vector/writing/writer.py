"""Writing footprints batch by batch into a layer of any format, checked before anyone else sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely

from buildmap.errors import BuildmapError, OutputError
from buildmap.provenance import Provenance
from buildmap.vector.crs import as_crs, needed_crs
from buildmap.vector.projection import reproject
from buildmap.vector.writing.formats import GAPS_LAYER, Format, format_of
from buildmap.vector.writing.layers import GeoPackage, check_layer_name
from buildmap.vector.writing.objects import OBJECT_COLUMNS
from buildmap.vector.writing.sinks import sink_for
from buildmap.vector.writing.styles import layer_styles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS

_COLUMNS = {
    "footprint_id": np.int64,
    "area_m2": np.float64,
    "perimeter_m": np.float64,
    "orientation_deg": np.float64,
    "confidence": np.float64,
    "edge_certainty": np.float64,
    "method": np.object_,
    "iou_raw": np.float64,
    "max_shift_m": np.float64,
    "quality": np.float64,
    "source_date": np.object_,
}
_HELD_BYTES = 2**23
_BEND_M = 1000.0
"""Length of a straight edge that stays straight in another CRS to some centimetres."""
_RADIUS_M = 6_371_000.0


class Batch(Protocol):
    """Some finished buildings: for every column of the layer, it has a field (n,) of that name.

    A column whose name is a word of Python's, as `class`, has a field `class_`.
    """

    @property
    def polygons(self) -> "NDArray[np.object_]": ...

    @property
    def footprint_id(self) -> "NDArray[np.int64]": ...

    def __len__(self) -> int: ...


@dataclass(slots=True)
class _Beside:
    """A layer of ground beside the footprints."""

    count: int = 0
    held: "list[NDArray[np.object_]]" = field(default_factory=list)
    held_bytes: int = 0


class FootprintWriter:
    """A layer in the making; a context manager that checks the file when all went well.

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
        kind: Format | None = None,
        target_crs: object | None = None,
        styled: bool = False,
    ) -> None:
        """Check what can be checked before any work.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: Of the footprints to come: what pyproj understands as a CRS, or an object with `to_wkt`.
            layer: Name of the layer.
            provenance: Stored as metadata `BUILDMAP` of the layer where the format has room for it; of the
                file, every reader would leave an `.aux.xml`.
            kind: The format; by the suffix of the path when None.
            target_crs: CRS of the layer; that of the footprints, or the only one the format has, when None.
            styled: Add a layer `layer_styles`, by which QGIS draws a GeoPackage; `ogr2ogr` to a format of one
                layer must then be told which to take.

        Raises:
            OutputError: If the format cannot be written, cannot have such a layer, or not in such a CRS.
            InputError: If there is no CRS.
            ResourceError: If a library is missing for this format.
        """
        self._crs = needed_crs(crs)
        kind = format_of(path) if kind is None else kind
        self._target = _target(self._crs, kind, target_crs)
        check_layer_name(layer)
        self._sink = sink_for(path, kind, crs=self._target)
        self.count = 0
        self.dropped = 0
        self._layer = layer
        self._metadata = None if provenance is None else {"BUILDMAP": provenance.to_json()}
        self._held: list[tuple[NDArray[np.object_], list[NDArray[np.generic]]]] = []
        self._held_bytes = 0
        self._begun = False
        self._styled = styled
        self._several_layers = kind.several_layers
        self._beside: dict[str, _Beside] = {}

    def __enter__(self) -> "FootprintWriter":
        return self

    @property
    def columns(self) -> Mapping[str, type]:
        """Names of the columns, and what they hold."""
        return _COLUMNS

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()

    def write(self, batch: Batch) -> None:
        """Add footprints; `dropped` counts those that have no place in the CRS of the layer.

        Raises:
            BuildmapError: If one of them is invalid, which no raster can be the reason for.
            StorageError: If the disk is full or fails.
        """
        _check_valid(batch)
        polygons, keep = reproject(batch.polygons, self._crs, self._target)
        wkb = np.asarray(shapely.to_wkb(polygons), np.object_)
        self._held.append((wkb, [getattr(batch, _field(name))[keep] for name in self.columns]))
        self._held_bytes += sum(map(len, wkb))
        self.count += len(polygons)
        self.dropped += len(batch) - len(polygons)
        if self._held_bytes >= _HELD_BYTES:
            self._append()

    def write_gaps(self, polygons: "NDArray[np.object_]") -> None:
        """Add to a layer `gaps`: where nothing is known, (n,) polygons.

        Raises:
            OutputError: If the format has no room for a second layer.
            StorageError: If the disk is full or fails.
        """
        self.write_beside(GAPS_LAYER, polygons)

    def write_beside(self, layer: str, polygons: "NDArray[np.object_]") -> None:
        """Add ground to a layer beside the footprints, which is there also where nothing was added.

        Args:
            layer: Its name, another than that of the footprints.
            polygons: (n,) in the CRS of the footprints; n may be 0.

        Raises:
            OutputError: If the format has no room for a second layer, or the footprints have that name.
            StorageError: If the disk is full or fails.
        """
        if not self._several_layers:
            raise OutputError(f"this format has no room for a layer '{layer}'", hint="write a .gpkg")
        if layer == self._layer:
            raise OutputError(f"the footprints' layer is called '{layer}'", hint="choose another --layer")
        moved, _ = reproject(_bendable(polygons, self._crs, self._target), self._crs, self._target)
        wkb = np.asarray(shapely.to_wkb(moved), np.object_)
        beside = self._beside.setdefault(layer, _Beside())
        beside.count += len(wkb)
        beside.held.append(wkb)
        beside.held_bytes += sum(map(len, wkb))
        if beside.held_bytes >= _HELD_BYTES:
            self._append_beside(layer, beside)

    def finish(self) -> None:
        """Write what is held, and read the number of footprints back.

        Raises:
            StorageError: If the disk is full or fails.
        """
        if self._held or not self._begun:
            self._append()
        for layer, beside in self._beside.items():
            if beside.held:
                self._append_beside(layer, beside)
        if self._styled and isinstance(self._sink, GeoPackage):
            self._sink.append_table("layer_styles", layer_styles(self._layer, self.columns))
        counts = {layer: beside.count for layer, beside in self._beside.items()}
        self._sink.finish({self._layer: self.count, **counts})

    def _append(self) -> None:
        """Write what is held."""
        wkb = np.concatenate([np.empty(0, np.object_), *(wkb for wkb, _ in self._held)])
        columns: dict[str, NDArray[np.generic]] = {
            name: np.concatenate(
                [np.empty(0, kind), *(values[number] for _, values in self._held)], dtype=kind
            )
            for number, (name, kind) in enumerate(self.columns.items())
        }
        metadata = None if self._begun else self._metadata
        self._sink.append(self._layer, wkb, columns, metadata=metadata)
        self._held, self._held_bytes, self._begun = [], 0, True

    def _append_beside(self, layer: str, beside: "_Beside") -> None:
        """Write what is held of another layer; that of the footprints comes first in the file."""
        if not self._begun:
            self._append()
        self._sink.append(layer, np.concatenate([np.empty(0, np.object_), *beside.held]), {})
        beside.held, beside.held_bytes = [], 0


class ObjectWriter(FootprintWriter):
    """A layer of buildings that were found one by one, likewise."""

    @property
    def columns(self) -> Mapping[str, type]:
        """Names of the columns, and what they hold."""
        return OBJECT_COLUMNS


def _field(column: str) -> str:
    return f"{column}_" if iskeyword(column) else column


def _target(crs: "CRS", kind: Format, asked: object | None) -> "CRS":
    """Choose the CRS of the layer."""
    if kind.only_crs is None:
        return crs if asked is None else as_crs(asked)
    only = as_crs(kind.only_crs)
    if asked is not None and not as_crs(asked).equals(only, ignore_axis_order=True):
        raise OutputError(
            f"{kind.name} is always in {kind.only_crs}, not in {as_crs(asked).name}",
            hint="leave out --target-crs, or write another format",
        )
    return only


def _bendable(polygons: "NDArray[np.object_]", crs: "CRS", target: "CRS") -> "NDArray[np.object_]":
    """Give long edges vertices on their way: in another CRS they are no longer straight."""
    if crs == target:
        return polygons
    metres = crs.axis_info[0].unit_conversion_factor * (_RADIUS_M if crs.is_geographic else 1.0)
    return np.asarray(shapely.segmentize(polygons, _BEND_M / metres), np.object_)


def _check_valid(batch: Batch) -> None:
    """Let no invalid polygon out."""
    sick = np.flatnonzero(~shapely.is_valid(batch.polygons))
    if len(sick):
        first = sick[0]
        raise BuildmapError(
            f"bug: footprint {batch.footprint_id[first]} is invalid: "
            f"{shapely.is_valid_reason(batch.polygons[first])}",
            hint="report it, with the command and the part of the raster around this place",
        )
