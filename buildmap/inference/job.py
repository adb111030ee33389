"""One prediction as a value: what any process or machine needs to do a strip of it, and to know it again."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely

from buildmap.execution.progress import Silent
from buildmap.inference.backend import Backend, load_backend
from buildmap.inference.cutting import Cutting
from buildmap.inference.devices import BackendOptions
from buildmap.inference.finding import Finding
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.meter import Measured, Meter
from buildmap.inference.segment import Segmenter, StripResult
from buildmap.raster.area import Area
from buildmap.raster.blend import INVALID, NODATA, StripPart
from buildmap.raster.grid import Grid
from buildmap.raster.seams import SeamAudit
from buildmap.raster.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Small, picklable, and equal for equal work."""

    source: Source
    """The raster."""
    models: tuple[Path, ...]
    """Model files; their probabilities are averaged."""
    devices: tuple[str, ...]
    """Where they run; several are shared out among processes."""
    options: BackendOptions
    """How they run."""
    cutting: Cutting
    """Windows of the source's grid, and how much finer the predicted grid is."""
    area: bytes | None = None
    """WKB of the ground that is wanted, in the raster's CRS; all of it when None."""
    readers: int = 2
    """Threads that read."""
    finding: Finding | None = None
    """How to read what a network finds that finds buildings one by one; None for probability."""

    @property
    def own_device(self) -> str:
        """Where the network runs in a process of its own: of several devices, it sees but one."""
        return self.devices[0] if len(self.devices) == 1 else self.devices[0].partition(":")[0]

    def area_on(self, grid: Grid) -> Area | None:
        """Give the wanted ground on the predicted grid, from the source's."""
        if self.area is None:
            return None
        return Area(shapely.get_parts(shapely.from_wkb(self.area)), grid.scaled(self.cutting.scale))


def decisive(
    cutting: Cutting, options: BackendOptions, *, bands: tuple[int, ...] | None, resample: bool
) -> dict[str, object]:
    """Name the settings that decide probability, for provenance; strips and processes do not."""
    plan = cutting.plan
    return {
        "bands": bands,
        "resample": resample,
        "cores": f"{plan.core_width_px}x{plan.core_height_px}",
        "halo_px": plan.halo_px,
        "precision": options.precision,
        "tta": options.tta,
    }


def plan_facts(job: Job, backend: Backend | InstanceBackend, grid: Grid) -> dict[str, str]:
    """Name everything a strip's bytes depend on: work is gone on with only where all of it is the same.

    Args:
        job: What is done.
        backend: The network.
        grid: The predicted grid.
    """
    card, plan = backend.card, job.cutting.plan
    kinds = " and ".join(path.suffix for path in job.models)
    objects = {} if job.finding is None else {"objects": str(job.finding)}
    return objects | {
        "format": "1",
        "input": job.source.fingerprint(),
        "bands": str(job.source.bands or card.data.bands),
        "grid": f"{grid.width} x {grid.height} at {tuple(grid.transform)[:6]}",
        "area": "all"
        if job.area is None
        else f"{len(job.area)} bytes, {hashlib.sha256(job.area).hexdigest()[:16]}",
        "model": f"{card.fingerprint} {hashlib.sha256(repr(card.data).encode()).hexdigest()[:8]}",
        "runs by": f"{kinds} on {backend.device.partition(':')[0]}",
        "precision": job.options.precision,
        "batch": str(backend.batch),
        "tta": job.options.tta,
        "cores": f"{plan.core_width_px} x {plan.core_height_px}",
        "halo_px": str(plan.halo_px),
        "rows_per_strip": str(plan.rows_per_strip),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StripTask:
    """Predicts one strip in a process of its own, which keeps raster and network open for the next."""

    job: Job
    """Of which the strip is a part."""

    def __call__(self, index: int) -> tuple[StripResult, Measured]:
        """Predict strip `index`; tell how fast it went."""
        segmenter = _opened(self.job)
        segmenter.meter = Meter()
        ((_, result),) = segmenter.strips([index], Silent())
        return result, segmenter.meter.measured(segmenter.lanes)


@lru_cache(maxsize=1)
def _opened(job: Job) -> Segmenter:
    reader = job.source.open()
    backend = load_backend(job.models, replace(job.options, device=job.own_device))
    return Segmenter(reader, backend, job.cutting, area=job.area_on(reader.grid), readers=job.readers)


def gap(cutting: Cutting, index: int) -> StripResult:
    """Give the result of a strip that could not be predicted: no data, and all its cores as gaps."""
    rows, width = cutting.plan.strip(index), cutting.predicted_width
    first, last = cutting.share(rows[0][0]), cutting.share(rows[-1][0])
    height = last.window.row_off + last.window.height - first.window.row_off
    inside = height - first.above - last.below
    part = StripPart(
        top=np.full((first.above, width), INVALID, np.uint16),
        rows=np.full((inside, width), NODATA, np.uint8),
        bottom=np.full((last.below, width), INVALID, np.uint16),
    )
    cores = tuple(planned.core.scaled(cutting.scale) for row in rows for planned in row)
    return StripResult(part=part, seams=SeamAudit(), windows=len(cores), skipped=0, gaps=cores)
