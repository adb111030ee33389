"""Where the imagery of a date had data: what is missing there is gone, elsewhere it was not seen."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.changes.seen_pixels import SeenPixels
from buildmap.changes.seen_polygons import SeenPolygons
from buildmap.errors import InputError
from buildmap.execution.memory import bound_block_cache
from buildmap.raster.reader import RasterReader
from buildmap.vector.projection import projection
from buildmap.vector.reader import Footprints, column_names, layer_names, read_footprints
from buildmap.vector.writing.formats import GAPS_LAYER, VALID_LAYER, is_vector

_CACHE_BYTES = 2**28
"""Holds the blocks under a row of chunks of a raster some 80 000 columns wide, with three bands."""


class Evidence(Protocol):
    """Knows where a date had data; close it after use."""

    def share(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give (n,) the share of each polygon's area on which there was data, 0..1."""

    def close(self) -> None:
        """Close what is open."""


class Everywhere:
    """Data everywhere: nobody has said otherwise."""

    def share(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give 1 for each of (n,) polygons."""
        return np.ones(len(polygons))

    def close(self) -> None:
        """Nothing is open."""


def open_evidence(path: Path, *, crs: CRS) -> Evidence:
    """Open what a user names as evidence.

    Args:
        path: A raster, whose valid pixels count, or a layer of polygons: `valid` where the file has one of
            that name, less `gaps` where it has these.
        crs: Of the polygons to come.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it cannot be used, or is a layer of footprints.
    """
    if not is_vector(path):
        bound_block_cache(_CACHE_BYTES)
        reader = RasterReader(path)
        try:
            return SeenPixels(reader, crs=crs)
        except InputError:
            reader.close()
            raise
    names = layer_names(path)
    if VALID_LAYER in names:
        return _seen(path, VALID_LAYER, names, crs)
    if "footprint_id" in column_names(path):
        raise InputError(
            f"{path} holds footprints and no layer '{VALID_LAYER}': it does not say where there was data",
            hint="predict or vectorize it with --valid, or name the raster it was made from",
        )
    return _seen(path, None, names, crs)


def evidence_in(path: Path, *, crs: CRS) -> Evidence | None:
    """Open what a file of footprints itself knows of the ground that was seen.

    Args:
        path: A layer of footprints.
        crs: Of the polygons to come.

    Returns:
        The layer `valid` less `gaps`; with `gaps` alone, everywhere else; None where it has neither.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it cannot be used.
    """
    names = layer_names(path)
    if len(names) < 2:  # the footprints, whatever they are called
        return None
    if VALID_LAYER in names:
        return _seen(path, VALID_LAYER, names, crs)
    if GAPS_LAYER not in names:
        return None
    gaps = read_footprints(path, crs=None, layer=GAPS_LAYER)
    return SeenPolygons(None, gaps.polygons, move=projection(crs, _crs_of(path, gaps)))


def _seen(path: Path, layer: str | None, names: tuple[str, ...], crs: CRS) -> SeenPolygons:
    """Index ground in the CRS of its layer: there its edges, which may be long, are straight."""
    valid = read_footprints(path, crs=None, layer=layer)
    ground_crs = _crs_of(path, valid)
    gaps = None
    if GAPS_LAYER in names:
        gaps = read_footprints(path, crs=ground_crs, layer=GAPS_LAYER).polygons
    return SeenPolygons(valid.polygons, gaps, move=projection(crs, ground_crs))


def _crs_of(path: Path, ground: Footprints) -> CRS:
    if ground.crs is None:
        raise InputError(f"{path} has no CRS", hint=f"ogr2ogr -a_srs EPSG:CODE with_crs.gpkg '{path}'")
    return ground.crs
