"""The label audit: where a trained network says that the map it learned from is wrong.

A network that has seen many buildings disbelieves a map that lacks one, or has one too many. Places are
ranked by how sure it is, for a person to look at: the network may be the one that errs.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pyproj import CRS
from torch import nn

from buildmap.data.sources import TrainingSource
from buildmap.errors import InputError
from buildmap.execution.progress import Progress, Silent
from buildmap.models.instance_network import InstanceNetwork
from buildmap.preset import Preset
from buildmap.training.cells import CellLosses
from buildmap.training.painting import Painted
from buildmap.training.ranking import Worst
from buildmap.training.survey import Band, Surveyed, plan_of, survey, surveyed
from buildmap.training.suspects import MissingBuildings, PhantomBuildings, Suspects
from buildmap.vector.crs import as_crs
from buildmap.vector.measures import area_and_perimeter
from buildmap.vector.projection import reproject
from buildmap.vector.writing.layers import Layer, write_layers

_LOG = logging.getLogger(__name__)
_WORLD = "EPSG:4326"


@runtime_checkable
class _Drawn(Protocol):
    """Annotations drawn from polygons."""

    polygons: NDArray[np.object_]
    """(n,) in the CRS of the working grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What is worth a look."""

    worst: int = 10_000
    """Places listed at most, and chips."""
    least_score: float = 0.5
    """Score from which a place is listed, 0..1."""
    min_area_m2: float = 10.0
    """Smaller places are left out."""
    tolerance_m: float = 2.0
    """How far an outline of the map may be off, and how wide a missing building is at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the network disbelieves."""

    suspects: Layer
    """Places, the worst first: rank, kind, score, mean_probability, loss, area_m2, source."""
    chips: Layer
    """Squares of annotated ground, the highest loss first: rank, loss, known_share, source."""
    crs: CRS
    """Of both layers: that of the rasters where they agree, else EPSG:4326."""
    left_out: tuple[str, ...]
    """Rasters without a CRS, which have no place in a layer."""

    @property
    def missing(self) -> int:
        """Listed buildings that the map lacks."""
        return int((self.suspects.columns["kind"] == "missing").sum())

    @property
    def phantoms(self) -> int:
        """Listed buildings of the map that are not there."""
        return len(self.suspects.polygons) - self.missing


_DEFAULTS = AuditOptions()


def check_auditable(sources: Sequence[TrainingSource]) -> None:
    """Refuse, before any learning, sources of which none has a place on the Earth.

    Raises:
        InputError: If no raster has a CRS.
    """
    if all(source.gsd_m is None for source in sources):
        raise InputError(
            "no raster has a CRS, so an audit of annotations has no place for its layer",
            hint="leave out --audit-annotations, or: gdal_translate -a_srs EPSG:CODE IMAGE with_crs.tif",
        )


def audit(
    network: nn.Module,
    sources: Sequence[TrainingSource],
    preset: Preset,
    *,
    stride: int,
    device: torch.device,
    options: AuditOptions = _DEFAULTS,
    progress: Progress | None = None,
) -> Audit:
    """Compare a network with the annotations of all ground, for training and for validation.

    Buildings are found whole, and once for each raster; rasters of the same ground are audited apart. Memory
    follows `options.worst`, the annotations, and the width of a raster's annotated ground.

    Args:
        network: On the device, in evaluation mode; of one that finds buildings one by one, what counts is
            what `paint` makes of them.
        sources: Open.
        preset: That the network was made by.
        stride: Of the network.
        device: Where it computes.
        options: What is listed.
        progress: Hears of every window.

    Raises:
        InputError: If no raster has a place on the Earth.
        StorageError: If a file cannot be read.
        ResourceError: If a window does not fit into the device's memory.
    """
    check_auditable(sources)
    network = Painted(network) if isinstance(network, InstanceNetwork) else network
    left_out = tuple(dict.fromkeys(source.name for source in sources if source.gsd_m is None))
    if left_out:
        _LOG.warning("not audited, since they have no CRS: %s", ", ".join(left_out))
    grounds = surveyed([source for source in sources if source.gsd_m is not None])
    crs = _common_crs(grounds)
    listener = Silent() if progress is None else progress
    plans = [plan_of(ground, preset, stride=stride) for ground in grounds]
    listener.start("audit annotations", sum(plan.rows * plan.columns for plan in plans))
    suspects = Worst(options.worst, by=("score", "area_m2"))
    chips = Worst(options.worst, by=("loss", "known_share"))
    for ground in grounds:
        cells = CellLosses(ground, cell_px=preset.training.chip_px)
        bands = survey(network, ground, preset, stride=stride, device=device, progress=listener)
        with closing(bands):
            for found in _inspect(bands, ground, cells, preset.predict.threshold, options):
                suspects.add(_placed(_listed(found, ground, options), ground, crs))
        chips.add(_placed(cells.layer(), ground, crs))
    return Audit(suspects=suspects.ranked(), chips=chips.ranked(), crs=crs, left_out=left_out)


def write_audit(found: Audit, path: Path) -> None:
    """Write layers `suspects` and `chips` into a new GeoPackage; either may be empty.

    Args:
        found: What to write.
        path: New file, in a folder of our own: see `publish.staged`.

    Raises:
        OutputError: If the suffix is not that of a GeoPackage.
        StorageError: If the disk is full or fails.
    """
    write_layers(path, {"suspects": found.suspects, "chips": found.chips}, crs=found.crs)


def _inspect(
    bands: Iterable[Band], ground: Surveyed, cells: CellLosses, threshold: float, options: AuditOptions
) -> Iterator[Suspects]:
    """Look at all ground of one raster."""
    width, transform = ground.window.width, ground.transform
    gsd_m = ground.sources[0].gsd_m or 1.0
    missing = MissingBuildings(
        width, transform, threshold=threshold, tolerance_px=round(options.tolerance_m / gsd_m)
    )
    phantoms = PhantomBuildings(width, transform, _footprints(ground))
    for band in bands:
        cells.push(band)
        yield from (*missing.push(band), *phantoms.push(band))
    yield from (*missing.finish(), *phantoms.finish())


def _footprints(ground: Surveyed) -> NDArray[np.object_]:
    """Give the polygons of the map; of one that several sources share, all but the last have no pixels."""
    drawn = [
        source.annotations.polygons for source in ground.sources if isinstance(source.annotations, _Drawn)
    ]
    return np.concatenate([np.empty(0, np.object_), *drawn])


def _listed(found: Suspects, ground: Surveyed, options: AuditOptions) -> Layer:
    """Lay out what is sure and large enough."""
    found = found.take(found.score >= options.least_score)
    area_m2, _ = area_and_perimeter(found.polygons, as_crs(ground.grid.crs))
    large = area_m2 >= options.min_area_m2
    found = found.take(large)
    return Layer(
        polygons=found.polygons,
        columns={
            "kind": np.where(found.missing, "missing", "phantom").astype(np.object_),
            "score": found.score,
            "mean_probability": found.mean_probability,
            "loss": found.loss,
            "area_m2": area_m2[large],
            "source": np.full(len(found), ground.name, np.object_),
        },
    )


def _placed(layer: Layer, ground: Surveyed, crs: CRS) -> Layer:
    """Move a layer into the CRS of the output."""
    polygons, keep = reproject(layer.polygons, ground.grid.crs, crs)
    return Layer(polygons=polygons, columns={name: values[keep] for name, values in layer.columns.items()})


def _common_crs(grounds: Sequence[Surveyed]) -> CRS:
    found = [as_crs(ground.grid.crs) for ground in grounds]
    return found[0] if all(crs == found[0] for crs in found) else as_crs(_WORLD)
