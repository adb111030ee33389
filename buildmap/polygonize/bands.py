"""From a job to footprints in order: bands drawn here or elsewhere, and put together while they arrive."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from itertools import takewhile

from buildmap.errors import StorageError
from buildmap.execution.arrivals import InOrder
from buildmap.execution.executor import Executor
from buildmap.execution.journal import Journal
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.polygonize.job import BandJob, BandTask, Draw, draw_band, drawer, open_source, read_band
from buildmap.vector.drawn import Drawn, join
from buildmap.vector.spool import DamagedSpool, load, save
from buildmap.vector.tracing.bands import Pieces, Seam
from buildmap.vector.tracing.outlines import join_outlines

SUFFIX = ".npz"
"""Of the products, for the journal."""


def drawn_bands(
    job: BandJob,
    draw: Draw,
    journal: Journal,
    executor: Executor | None = None,
    *,
    progress: Progress,
    stop: Callable[[], bool],
) -> Generator[Drawn]:
    """Draw the footprints of a whole raster.

    What an earlier run has done is not done again. The footprints are the same, bit for bit, whatever the
    height of the bands, whoever draws them and however often the run was interrupted. Close the iterator
    to leave early.

    Args:
        job: What to draw.
        draw: Draws the footprints of some components.
        journal: What has been done, and where more of it goes.
        executor: Draws the bands; None is this process.
        progress: Hears of every band.
        stop: Once it says True, no band is begun any more.

    Yields:
        For each band, from top to bottom, the footprints of the components that end in it, and of those that
        ended with the last row of the band before: over all bands in the order of `Drawn.order`.

    Raises:
        Stopped: If `stop` said so before all was done.
        StorageError: If a band fails twice, or writing.
        ResourceError: If a worker cannot be set up, or the cluster is lost.
    """
    done = journal.done()
    todo = [step for step in range(job.bands) if step not in done]
    progress.start("vectorize", len(todo))
    arriving = _here(job, draw, journal, todo, stop)
    if executor is not None:
        arriving = _elsewhere(executor, job, draw, journal, todo, stop)
    steps = InOrder(
        range(job.bands), done=done, arriving=_counted(arriving, progress), stop=stop, name="bands"
    )
    seam = Seam(job.width)
    with closing(steps):
        for step in steps:
            drawn, pieces = _load(journal, step, BandTask(job=job, draw=draw))
            yield _with_seam(drawn, pieces, seam, job, draw, step)


def _with_seam(drawn: Drawn, pieces: Pieces, seam: Seam, job: BandJob, draw: Draw, step: int) -> Drawn:
    """Add what has come to its end at the seams of a band."""
    outlines = seam.push(pieces, *job.rows(step))
    if step == job.bands - 1:
        outlines = join_outlines([outlines, seam.finish()])
    if len(outlines):
        drawn = join([drawn, drawer(job, draw)(outlines, seam.crop)])
    return drawn.in_order()


def _here(
    job: BandJob, draw: Draw, journal: Journal, todo: list[int], stop: Callable[[], bool]
) -> Generator[int]:
    """Draw bands in this process, and read the next one meanwhile."""
    with open_source(job.source) as reader:
        begun = takewhile(lambda _: not stop(), todo)
        bands = prefetch(partial(read_band, reader, job), begun, workers=1, ahead=1)
        with closing(bands):
            for step, values in zip(todo, bands, strict=False):
                _keep(journal, step, draw_band(job, draw, step, values))
                yield step


def _elsewhere(
    executor: Executor,
    job: BandJob,
    draw: Draw,
    journal: Journal,
    todo: Iterable[int],
    stop: Callable[[], bool],
) -> Generator[int]:
    """Draw bands in other processes; this one only writes what they give."""
    with closing(executor.run(BandTask(job=job, draw=draw), todo, stop=stop)) as results:
        for done in results:
            if done.result is None:
                raise StorageError(f"band {done.step} failed twice: {done.error}")
            _keep(journal, done.step, done.result)
            yield done.step


def _counted(arriving: Generator[int], progress: Progress) -> Generator[int]:
    with closing(arriving):
        for step in arriving:
            progress.advance()
            yield step


def _keep(journal: Journal, step: int, packed: bytes) -> None:
    """Have a band on disk, then in the journal."""
    save(journal.product(step), packed)
    journal.record(step, {"bytes": len(packed)})


def _load(journal: Journal, step: int, task: BandTask) -> tuple[Drawn, Pieces]:
    """Read what a band gave; have it drawn again where that is damaged."""
    try:
        return load(journal.product(step))
    except DamagedSpool:
        journal.forget(step)
    _keep(journal, step, task(step))
    return load(journal.product(step))
