"""Layers of the buildings a map got wrong, to be opened beside it."""

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from buildmap.errors import InputError
from buildmap.metrics.objects import Comparison
from buildmap.vector.writing.layers import Layer

KINDS = ("false", "missed", "merged", "split")
"""Layers: predicted where none is, not predicted, predicted as one, predicted as several."""


class Mistakes:
    """Collects the mistakes of all pairs, in the CRS of the first."""

    def __init__(self) -> None:
        self._crs: rasterio.CRS | None = None
        self._parts: dict[str, list[tuple[NDArray[np.object_], NDArray[np.float64], str]]] = {
            kind: [] for kind in KINDS
        }

    @property
    def crs(self) -> rasterio.CRS | None:
        """Of all layers."""
        return self._crs

    def add(self, comparison: Comparison, crs: rasterio.CRS | None, *, prediction: str) -> None:
        """Add the mistakes of one pair.

        Args:
            comparison: Of the pair, with what counts marked.
            crs: Of its polygons.
            prediction: What to call it in the column `prediction`.

        Raises:
            InputError: If the polygons have no CRS.
        """
        if crs is None:
            raise InputError(
                f"{prediction} has no CRS, so its errors have no place on a map", hint="leave out --errors"
            )
        self._crs = self._crs or crs
        for kind, (objects, rows) in comparison.mistakes().items():
            polygons = objects.store.take(rows)
            if crs != self._crs:
                move = Transformer.from_crs(CRS(crs), CRS(self._crs), always_xy=True)
                polygons = np.asarray(shapely.transform(polygons, move.transform, interleaved=False))
            self._parts[kind].append((polygons, objects.area_m2[rows], prediction))

    def layers(self) -> dict[str, Layer]:
        """Give one layer for each of `KINDS`."""
        return {kind: _layer(parts) for kind, parts in self._parts.items()}


def _layer(parts: list[tuple[NDArray[np.object_], NDArray[np.float64], str]]) -> Layer:
    names = [np.full(len(polygons), name, np.object_) for polygons, _, name in parts]
    return Layer(
        polygons=np.concatenate([np.empty(0, np.object_), *(polygons for polygons, _, _ in parts)]),
        columns={
            "area_m2": np.concatenate([np.empty(0), *(area for _, area, _ in parts)]),
            "prediction": np.concatenate([np.empty(0, np.object_), *names]),
        },
    )
