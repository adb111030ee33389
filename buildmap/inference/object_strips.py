"""Objects of strips from other processes, and from the files of all strips to one set of buildings."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from buildmap.execution.progress import Silent
from buildmap.inference.backend import open_models
from buildmap.inference.cutting import Cutting
from buildmap.inference.detect import Detector
from buildmap.inference.finding import FoundStrip
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.job import Job
from buildmap.inference.meter import Measured, Meter
from buildmap.inference.object_files import load, pack
from buildmap.inference.objects import merging
from buildmap.vector.instance_rules import Candidates, no_candidates
from buildmap.vector.instances import Merger


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTask:
    """Finds the buildings of one strip in a process of its own, as `StripTask`."""

    job: Job
    """Of which the strip is a part."""

    def __call__(self, index: int) -> tuple[FoundStrip, Measured]:
        """Predict strip `index`; tell how fast it went."""
        detector = _opened(self.job)
        detector.meter = Meter()
        ((_, result),) = detector.strips([index], Silent())
        return result, detector.meter.measured(detector.lanes)


@lru_cache(maxsize=1)
def _opened(job: Job) -> Detector:
    reader = job.source.open()
    backend = open_models(job.models, replace(job.options, device=job.own_device))
    if job.finding is None or not isinstance(backend, InstanceBackend):
        raise ValueError("the job is not to find objects")
    area = job.area_on(reader.grid)
    return Detector(reader, backend, job.cutting, job.finding, area=area, readers=job.readers)


def gap(cutting: Cutting, index: int) -> FoundStrip:
    """Give the result of a strip that could not be predicted: no objects, and all its cores as gaps."""
    cores = tuple(planned.core for row in cutting.plan.strip(index) for planned in row)
    return FoundStrip(packed=pack(no_candidates()), windows=len(cores), skipped=0, gaps=cores)


def merged(files: Iterable[tuple[int, Path]], job: Job) -> Iterator[Candidates]:
    """Make one set of buildings of the objects of all strips; the same for any height of strips.

    Args:
        files: Number and file of every strip from top to bottom; the next is asked for when what is finished
            with those before has been taken.
        job: Of which they are the strips.

    Yields:
        Buildings that nothing below can change, in pixel corners of the raster.

    Raises:
        DamagedPart: If a file is not what was written.
    """
    if job.finding is None:
        raise ValueError("the job is not to find objects")
    merger, plan = Merger(merging(job.finding)), job.cutting.plan
    for step, path in files:
        _, stop = plan.span(step)
        yield merger.push(load(path), max(stop - plan.halo_px, 0))
    yield merger.finish()
