"""From a job to parts on disk: strips predicted in this process, in several, or on a cluster."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from buildmap.errors import StorageError
from buildmap.execution.arrivals import InOrder
from buildmap.execution.executor import Executor, take_gpu
from buildmap.execution.journal import Journal
from buildmap.execution.memory import release_unused
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.execution.workers import executor_for
from buildmap.inference.backend import Backend
from buildmap.inference.devices import available_cores
from buildmap.inference.finding import SUFFIX, FoundStrip
from buildmap.inference.instance_backend import InstanceBackend
from buildmap.inference.job import Job, StripTask, gap
from buildmap.inference.meter import Measured, Meter
from buildmap.inference.options import Running
from buildmap.inference.prepare import Work
from buildmap.inference.segment import Segmenter, StripResult
from buildmap.inference.window_reader import WindowReader
from buildmap.raster.parts import PartRecord, write_part
from buildmap.raster.seams import SeamAudit
from buildmap.raster.windows import PlannedWindow, Window

Strip = StripResult | FoundStrip
"""What a strip became: rows of probability, or objects."""


class Predictor(Protocol):
    """Predicts strips of one raster with one network: a `Segmenter`, or a `Detector`."""

    lanes: int
    meter: Meter
    windows: WindowReader

    def strips(
        self, indices: Iterable[int], progress: Progress, stop: Callable[[], bool] = ...
    ) -> Iterator[tuple[int, Strip]]: ...

    def predict_one(self, planned: PlannedWindow) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StripRecord:
    """What the journal knows of a finished strip of probability."""

    part: PartRecord
    """Its file."""
    seams: SeamAudit
    """Of the seams inside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the journal knows of the windows of a finished strip, whatever they gave."""

    windows: int
    """Windows in it."""
    skipped: int
    """Of these, windows the network never saw."""
    gaps: tuple[Window, ...]
    """Cores of windows that could not be read, in predicted pixels."""


def journal_in(folder: Path, work: Work) -> Journal:
    """Open the journal of the strips of a work, or begin it.

    Raises:
        MismatchError: If the folder holds the strips of another.
    """
    return Journal(folder, work.facts, suffix=".tif" if work.job.finding is None else SUFFIX)


def predictor(work: Work, backend: Backend | InstanceBackend) -> Predictor:
    """Set up what predicts strips in this process."""
    job, reader = work.job, work.reader
    area = job.area_on(reader.grid)
    if isinstance(backend, InstanceBackend):
        from buildmap.inference.detect import Detector  # compiled: only for those who look for objects

        if job.finding is None:
            raise ValueError("a network that finds objects, and nobody says how")
        return Detector(reader, backend, job.cutting, job.finding, area=area, readers=job.readers)
    return Segmenter(reader, backend, job.cutting, area=area, readers=job.readers)


def record_of(journal: Journal, step: int) -> StripRecord:
    """Read what the journal knows of a finished strip of probability."""
    facts = journal.facts(step)
    return StripRecord(
        part=PartRecord(**{**facts["part"], "histogram": tuple(facts["part"]["histogram"])}),
        seams=SeamAudit(**facts["seams"]),
    )


def tally_of(journal: Journal, step: int) -> Tally:
    """Read what the journal knows of the windows of a finished strip."""
    facts = journal.facts(step)
    return Tally(
        windows=facts["windows"],
        skipped=facts["skipped"],
        gaps=tuple(Window(**core) for core in facts["gaps"]),
    )


class Arrivals:
    """The strips of a run, as they get done; close it."""

    def __init__(
        self,
        work: Work,
        backend: Backend | InstanceBackend,
        journal: Journal,
        mine: list[int],
        running: Running,
        *,
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        """Begin; nothing is predicted before it is asked for.

        Args:
            work: What to predict.
            backend: The network in this process; let go of with the last strip.
            journal: What has been done, and where more of it goes.
            mine: Strips of this run, in order.
            running: Who predicts.
            progress: Hears of every window.
            stop: Once it says True, no strip is begun any more.
        """
        self.journal, self.measured, self.progress, self.stop = journal, Measured(), progress, stop
        done = journal.done()
        todo = [] if running.only_finish else [step for step in mine if step not in done]
        progress.start("predict", sum(map(work.job.cutting.plan.windows, todo)))
        strips = _predicted(work, backend, journal, todo, running, progress, stop)
        self._strips = InOrder(
            mine,
            done=done,
            arriving=self._listened(strips),
            stop=stop,
            name="strips",
            hint="run the shards that have not ended, or the command without --finish",
        )

    def close(self) -> None:
        """Stop predicting, and let go of the network."""
        self._strips.close()

    def in_order(self) -> Iterator[int]:
        """Give the strips from top to bottom, each once it is on disk.

        Raises:
            Stopped: If the run was asked to end before that.
            IncompleteError: If shards have not done theirs.
        """
        yield from self._strips

    def _listened(self, strips: Generator[tuple[int, Measured]]) -> Generator[int]:
        with closing(strips):
            for step, self.measured in strips:
                yield step


def _predicted(
    work: Work,
    backend: Backend | InstanceBackend,
    journal: Journal,
    todo: list[int],
    running: Running,
    progress: Progress,
    stop: Callable[[], bool],
) -> Generator[tuple[int, Measured]]:
    """Predict strips, here or elsewhere."""
    job = work.job
    executor = _executor(job, running)
    if executor is None:
        return predict_here(predictor(work, backend), journal, todo, progress=progress, stop=stop)
    threads = job.options.threads or max(1, available_cores() // _workers(job, running))
    theirs = replace(job, options=replace(job.options, threads=threads))
    return predict_elsewhere(executor, theirs, journal, todo, progress=progress, stop=stop)


def _executor(job: Job, running: Running) -> Executor | None:
    """Choose who predicts; None is this process."""
    gpus = tuple(device.partition(":")[2] for device in job.devices) if len(job.devices) > 1 else ()
    initializer = partial(take_gpu, gpus) if gpus else None
    return executor_for(workers=_workers(job, running), dask=running.dask, initializer=initializer)


def _workers(job: Job, running: Running) -> int:
    return max(running.workers, len(job.devices))


def predict_here(
    predictor: Predictor,
    journal: Journal,
    todo: list[int],
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Generator[tuple[int, Measured]]:
    """Predict strips in this process, and go on with the next while the last ones are dealt with.

    Yields:
        The number of a strip that is on disk and in the journal, and what was measured so far.

    Raises:
        StorageError: If reading or writing fails.
        ResourceError: If a window does not fit into memory.
    """

    def keep(strip: tuple[int, Strip]) -> int:
        _keep(journal, *strip)
        return strip[0]

    for step in prefetch(keep, predictor.strips(todo, progress, stop), workers=1, ahead=1):
        release_unused()
        yield step, predictor.meter.measured(predictor.lanes)


def predict_elsewhere(
    executor: Executor,
    job: Job,
    journal: Journal,
    todo: list[int],
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Generator[tuple[int, Measured]]:
    """Predict strips in other processes; this one only writes what they give.

    A strip that fails again and again is a gap where the job says so.

    Yields:
        As `predict_here`, the figures of all processes together.

    Raises:
        StorageError: If a strip fails, or writing.
        ResourceError: If a worker cannot be set up, or the cluster is lost.
    """
    total = Measured()
    task, gap_at = _elsewhere(job)
    with closing(executor.run(task, todo, stop=stop)) as results:
        for done in results:
            if done.result is None and not job.cutting.skip_errors:
                raise StorageError(
                    f"strip {done.step} failed twice: {done.error}", hint="--on-error skip leaves a gap there"
                )
            result, measured = done.result or (gap_at(done.step), Measured())
            _keep(journal, done.step, result)
            total = total + measured
            progress.note(total.told())
            progress.advance(result.windows)
            yield done.step, total


def _elsewhere(job: Job) -> tuple[Callable[[int], tuple[Strip, Measured]], Callable[[int], Strip]]:
    """Give what predicts a strip in another process, and what stands for one that cannot be predicted."""
    if job.finding is None:
        return StripTask(job=job), partial(gap, job.cutting)
    from buildmap.inference import object_strips

    return object_strips.ObjectTask(job=job), partial(object_strips.gap, job.cutting)


def _keep(journal: Journal, step: int, result: Strip) -> None:
    """Have a strip on disk, then in the journal."""
    tally = asdict(Tally(windows=result.windows, skipped=result.skipped, gaps=result.gaps))
    if isinstance(result, FoundStrip):
        from buildmap.vector.spool import save

        save(journal.product(step), result.packed)
        journal.record(step, tally)
        return
    part = write_part(journal.product(step), result.part)
    journal.record(step, tally | asdict(StripRecord(part=part, seams=result.seams)))
