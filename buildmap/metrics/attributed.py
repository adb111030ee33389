"""Two layers with what they say of each building, in one CRS, and which buildings count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.errors import InputError
from buildmap.metrics.ground import Box, meets
from buildmap.raster.grid import show_bounds
from buildmap.vector.reader import column_names, read_footprints, read_in_batches
from buildmap.vector.store import PolygonStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """The buildings of a layer."""

    path: Path
    """Of the layer."""
    store: PolygonStore
    """n polygons; of a multipolygon, each part."""
    columns: dict[str, NDArray[np.generic]]
    """(n,) each, by name."""
    crs: CRS | None
    """Of the polygons; None where nothing says."""

    @property
    def bounds(self) -> Box:
        """Box around all; of none, NaN."""
        if not len(self.store):
            return (np.nan, np.nan, np.nan, np.nan)
        low, high = self.store.bounds[:, :2].min(axis=0), self.store.bounds[:, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def read_both(
    prediction: Path,
    truth: Path,
    *,
    columns: tuple[Sequence[str], Sequence[str]],
    optional: Sequence[str] = (),
) -> tuple[Attributed, Attributed]:
    """Read a prediction and its truth, both in the CRS of the truth.

    An intersection over union is the same in degrees as in metres, since a building is small: no other CRS
    is needed.

    Args:
        prediction: Any vector file GDAL reads.
        truth: The same.
        columns: That the prediction must have, and that the truth must have.
        optional: Columns read where they are there.

    Raises:
        MissingInput: If a file is not there.
        InputError: If one is no vector file, lacks a column, or lies elsewhere, or only one has a CRS.
    """
    true = _read(truth, None, columns[1], optional)
    predicted = _read(prediction, true.crs, columns[0], optional)
    if true.crs is None and predicted.crs is not None:
        raise InputError(
            f"{truth} has no CRS, {prediction} is in {predicted.crs.name}",
            hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{truth}'",
        )
    if len(true.store) and len(predicted.store) and not meets(predicted.bounds, true.bounds):
        raise InputError(
            f"{prediction} does not touch the ground of {truth}: "
            f"extents {show_bounds(predicted.bounds)} and {show_bounds(true.bounds)}"
        )
    return predicted, true


def lie_within(
    store: PolygonStore, *, crs: CRS | None, aoi: Path | None, bbox: Box | None
) -> NDArray[np.bool_]:
    """Tell which buildings count: those of which a point inside lies in the area of interest and the box.

    Args:
        store: n polygons.
        crs: Of the polygons and the box.
        aoi: Layer of polygons, in any CRS; None counts everywhere.
        bbox: Left, bottom, right, top; None counts everywhere.

    Raises:
        InputError: If the area of interest cannot be read, holds no polygons, or only it has a CRS.
    """
    counted = np.ones(len(store), np.bool_)
    if bbox is not None:
        left, bottom, right, top = bbox
        x, y = store.inside.T
        counted &= (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
    if aoi is not None:
        area = read_footprints(aoi, crs=crs)
        polygons = area.polygons
        if crs is None and area.crs is not None:
            raise InputError(
                f"{aoi} is in {area.crs.name}, what it is laid on has no CRS",
                hint="leave out --aoi, or first: ogr2ogr -a_srs EPSG:CODE with_crs.gpkg LAYER",
            )
        if not len(polygons):
            raise InputError(f"{aoi} holds no polygons, so no ground would count")
        inside = np.zeros(len(store), np.bool_)
        inside[shapely.STRtree(polygons).query(shapely.points(store.inside), predicate="intersects")[0]] = (
            True
        )
        counted &= inside
    return counted


def _read(path: Path, crs: CRS | None, columns: Sequence[str], optional: Sequence[str]) -> Attributed:
    there = column_names(path) if optional else ()
    names = [*columns, *(name for name in optional if name in there and name not in columns)]
    batches = read_in_batches(path, crs=crs, columns=names)
    values: dict[str, list[NDArray[np.generic]]] = {name: [] for name in names}
    found: list[CRS | None] = []
    lost = 0

    def polygons() -> Iterator[NDArray[np.object_]]:
        nonlocal lost
        for batch in batches:
            for name in names:
                values[name].append(batch.columns[name])
            found.append(batch.crs)
            lost += batch.repairs.dropped
            yield batch.polygons

    store = PolygonStore.gather(polygons())
    if lost and not len(store):
        raise InputError(f"{path}: none of {lost} geometries gives a polygon")
    return Attributed(
        path=path,
        store=store,
        columns={name: np.concatenate(parts) for name, parts in values.items()},
        crs=found[0],
    )
