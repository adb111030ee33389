"""Annotations opened for one raster, whatever they are kept in: the whole truth, and one to learn from."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap import preset as presets
from buildmap.data.annotations import Annotations, FootprintTruth, MaskTruth, move
from buildmap.data.coco import CocoFile, CocoFiles
from buildmap.data.copies import copy_mask
from buildmap.data.missing import Fates, choose_polygons, drop_components
from buildmap.data.pairs import RASTER_SUFFIXES
from buildmap.errors import InputError
from buildmap.raster.grid import Grid
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from buildmap.vector.reader import Repairs, read_footprints


@dataclass(frozen=True, slots=True, kw_only=True)
class Truths:
    """What the annotations of one raster say, with and without the buildings that are dropped."""

    whole: Annotations | None
    """All that was drawn; None where it is only learned from, and buildings are dropped."""
    thinned: Annotations | None
    """With buildings dropped; None where none are."""
    fates: Fates | None
    """Which were dropped; None where none are."""
    footprints: int | None
    """Polygons on the annotated ground; None for a mask raster."""
    repairs: Repairs | None
    """What was repaired or dropped of them; None for a mask raster."""
    has_buildings: bool
    """False where it is known that there are none."""

    @property
    def masks(self) -> int:
        """Mask rasters among them, that a copy in memory takes room for."""
        return sum(isinstance(truth, MaskTruth) for truth in (self.whole, self.thinned))

    def copied(self, grid: Grid, ground: Window, *, scale: int = 1) -> "Truths":
        """Give the same with masks in memory; the files may then be closed.

        Args:
            grid: The working grid.
            ground: The part of it that is copied.
            scale: Pixels of the copies per pixel of the grid, along one axis.

        Raises:
            StorageError: If a mask cannot be read.
        """
        if self.masks == 0:
            return self
        whole, of_whole = _copy(self.whole, grid, ground, scale)
        thinned, _ = _copy(self.thinned, grid, ground, scale)
        return Truths(
            whole=whole,
            thinned=thinned,
            fates=self.fates,
            footprints=None,
            repairs=None,
            has_buildings=of_whole > 0 or (self.fates is not None and self.fates.count([ground]).of > 0),
        )

    def close(self) -> None:
        """Close files and free memory."""
        for truth in (self.whole, self.thinned):
            if truth is not None:
                truth.close()


def open_truths(
    path: Path,
    reader: RasterReader,
    ground: Window,
    *,
    pair: presets.Source,
    training: presets.Training,
    coco: CocoFiles,
) -> Truths:
    """Open the annotations of one raster.

    Args:
        path: Mask raster, vector layer or COCO JSON.
        reader: The raster.
        ground: The annotated part of its working grid.
        pair: What the preset says of it.
        training: Says how many buildings to drop, and by which seed.
        coco: COCO files, read already or not.

    Raises:
        MissingInput: If there is no such file.
        InputError: If it cannot be used on this raster.
    """
    share = 0.0 if pair.use in ("validation", "test") else training.drop_annotations
    keeps_whole = share == 0 or pair.use != "train"
    if path.suffix.lower() in RASTER_SUFFIXES:
        mask = MaskTruth(path, native=reader.native_grid, grid=reader.grid)
        return _mask_truths(
            mask, share=share, seed=training.seed, name=pair.annotations, keeps_whole=keeps_whole
        )
    file = coco.find(path)
    polygons, repairs = (
        _read_layer(path, reader, ground) if file is None else _read_coco(file, reader, ground)
    )
    return _footprint_truths(
        polygons,
        repairs,
        reader.grid,
        share=share,
        training=training,
        name=pair.image,
        keeps_whole=keeps_whole,
    )


def _mask_truths(mask: MaskTruth, *, share: float, seed: int, name: str, keeps_whole: bool) -> Truths:
    thinned, fates = None, None
    if share > 0:
        with ExitStack() as unless_dropped:
            unless_dropped.callback(mask.close)
            removed, firsts, dropped = drop_components(
                mask.read_building, shape=mask.shape, share=share, seed=seed, name=name
            )
            unless_dropped.pop_all()
        cols, rows = mask.to_grid(firsts)
        fates = Fates(cols=cols, rows=rows, dropped=dropped)
        thinned = mask.without(removed)
    return Truths(
        whole=mask if keeps_whole else None,
        thinned=thinned,
        fates=fates,
        footprints=None,
        repairs=None,
        has_buildings=True,
    )


def _footprint_truths(
    polygons: NDArray[np.object_],
    repairs: Repairs,
    grid: Grid,
    *,
    share: float,
    training: presets.Training,
    name: str,
    keeps_whole: bool,
) -> Truths:
    def draw(polygons: NDArray[np.object_]) -> FootprintTruth:
        return FootprintTruth(polygons, grid, part_attached=training.part_attached)

    thinned, fates = None, None
    if share > 0:
        dropped = choose_polygons(polygons, grid.crs, share=share, seed=training.seed, name=name)
        x, y = shapely.get_coordinates(shapely.centroid(polygons)).T
        cols, rows = move(~grid.transform, x, y)
        fates = Fates(cols=cols, rows=rows, dropped=dropped)
        thinned = draw(polygons[~dropped])
    return Truths(
        whole=draw(polygons) if keeps_whole else None,
        thinned=thinned,
        fates=fates,
        footprints=len(polygons),
        repairs=repairs,
        has_buildings=len(polygons) > 0,
    )


def _read_layer(path: Path, reader: RasterReader, ground: Window) -> tuple[NDArray[np.object_], Repairs]:
    grid = reader.grid
    if grid.crs is None:
        raise InputError(
            f"{reader.path} has no CRS, so footprints cannot be laid on it",
            hint=f"gdal_translate -a_srs EPSG:CODE '{reader.path}' with_crs.tif",
        )
    found = read_footprints(path, crs=grid.crs, bbox=grid.part(ground).bounds)
    return found.polygons, found.repairs


def _read_coco(file: CocoFile, reader: RasterReader, ground: Window) -> tuple[NDArray[np.object_], Repairs]:
    native = reader.native_grid
    found = file.footprints(reader.path, width=native.width, height=native.height)
    to_crs = partial(move, native.transform)
    polygons = np.asarray(shapely.transform(found.polygons, to_crs, interleaved=False), np.object_)
    box = shapely.box(*reader.grid.part(ground).bounds)
    return polygons[shapely.intersects(polygons, box)], found.repairs


def _copy(
    truth: Annotations | None, grid: Grid, ground: Window, scale: int
) -> tuple[Annotations | None, int]:
    """Copy a mask to memory; give it and its number of building pixels."""
    return copy_mask(truth, grid, ground, scale=scale) if isinstance(truth, MaskTruth) else (truth, 0)
