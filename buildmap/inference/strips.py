"""From a job to parts on disk: strips predicted in this process, in several, or on a cluster."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial

from buildmap.errors import StorageError
from buildmap.execution.arrivals import InOrder
from buildmap.execution.executor import Executor, Processes, take_gpu
from buildmap.execution.journal import Journal
from buildmap.execution.memory import release_unused
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.inference.backend import Backend
from buildmap.inference.devices import available_cores
from buildmap.inference.job import Job, StripTask, gap
from buildmap.inference.options import Running
from buildmap.inference.prepare import Work
from buildmap.inference.segment import Measured, Segmenter, StripResult
from buildmap.raster.parts import PartRecord, write_part
from buildmap.raster.seams import SeamAudit
from buildmap.raster.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class StripRecord:
    """What the journal knows of a finished strip."""

    part: PartRecord
    """Its file."""
    seams: SeamAudit
    """Of the seams inside it."""
    windows: int
    """Windows in it."""
    skipped: int
    """Of these, windows the network never saw."""
    gaps: tuple[Window, ...]
    """Cores of windows that could not be read, in predicted pixels."""


def record_of(journal: Journal, step: int) -> StripRecord:
    """Read what the journal knows of a finished strip."""
    facts = journal.facts(step)
    return StripRecord(
        part=PartRecord(**{**facts["part"], "histogram": tuple(facts["part"]["histogram"])}),
        seams=SeamAudit(**facts["seams"]),
        windows=facts["windows"],
        skipped=facts["skipped"],
        gaps=tuple(Window(**core) for core in facts["gaps"]),
    )


class Arrivals:
    """The strips of a run, as they get done; close it."""

    def __init__(
        self,
        work: Work,
        backend: Backend,
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
        self.journal, self.measured = journal, Measured()
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
    backend: Backend,
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
        area = job.area_on(work.reader.grid)
        segmenter = Segmenter(work.reader, backend, job.cutting, area=area, readers=job.readers)
        return predict_here(segmenter, journal, todo, progress=progress, stop=stop)
    threads = job.options.threads or max(1, available_cores() // _workers(job, running))
    theirs = replace(job, options=replace(job.options, threads=threads))
    return predict_elsewhere(executor, theirs, journal, todo, progress=progress, stop=stop)


def _executor(job: Job, running: Running) -> Executor | None:
    """Choose who predicts; None is this process."""
    workers = _workers(job, running)
    gpus = tuple(device.partition(":")[2] for device in job.devices) if len(job.devices) > 1 else ()
    initializer = partial(take_gpu, gpus) if gpus else None
    if running.dask is not None:
        from buildmap.execution.cluster import Cluster

        return Cluster(address=running.dask, workers=workers, initializer=initializer)
    if workers == 1:
        return None
    return Processes(workers=workers, ahead=workers + 1, initializer=initializer)


def _workers(job: Job, running: Running) -> int:
    return max(running.workers, len(job.devices))


def predict_here(
    segmenter: Segmenter,
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

    def keep(strip: tuple[int, StripResult]) -> int:
        _keep(journal, *strip)
        return strip[0]

    for step in prefetch(keep, segmenter.strips(todo, progress, stop), workers=1, ahead=1):
        release_unused()
        yield step, segmenter.meter.measured(segmenter.lanes)


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
    with closing(executor.run(StripTask(job=job), todo, stop=stop)) as results:
        for done in results:
            if done.result is None and not job.cutting.skip_errors:
                raise StorageError(
                    f"strip {done.step} failed twice: {done.error}", hint="--on-error skip leaves a gap there"
                )
            result, measured = done.result or (gap(job.cutting, done.step), Measured())
            _keep(journal, done.step, result)
            total = total + measured
            progress.note(total.told())
            progress.advance(result.windows)
            yield done.step, total


def _keep(journal: Journal, step: int, result: StripResult) -> None:
    """Have a strip on disk, then in the journal."""
    part = write_part(journal.product(step), result.part)
    record = StripRecord(
        part=part, seams=result.seams, windows=result.windows, skipped=result.skipped, gaps=result.gaps
    )
    journal.record(step, asdict(record))
