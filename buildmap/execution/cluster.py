"""Running a task for every step on dask.distributed: workers here, or a scheduler that runs already.

For several GPUs elsewhere start one worker per GPU, each with one thread and with CUDA_VISIBLE_DEVICES
naming its GPU (as `dask cuda worker` does). Scheduler and workers need this version of buildmap.
"""

import logging
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from buildmap.errors import MismatchError, ResourceError
from buildmap.execution.executor import Done, attempt

try:
    import dask
    from dask.typing import Key
    from distributed import Client, Future, KilledWorker, LocalCluster, Worker, WorkerPlugin
    from distributed.client import ClosedClientError
    from distributed.versions import VersionMismatchWarning
except ImportError as error:
    raise ResourceError(
        f"dask.distributed is missing or too old: {error}", hint="pip install 'buildmap[dask]'"
    ) from error

if TYPE_CHECKING:
    from distributed.client import VersionsDict

T = TypeVar("T")

LOCAL = "local"

_LOCAL_CONFIG = {
    "distributed.comm.timeouts.connect": "10s",  # spent on asking a dead worker for its results
    "distributed.nanny.pre-spawn-environ": {},  # else networks lose their threads and their memory settings
}

_STEPS_PER_THREAD = 2
_DEATHS_FORGIVEN = 1
_POLL_S = 0.5
_LOGGERS = ("distributed", "distributed.client", "tornado.application")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An executor of many machines.

    A step whose worker dies runs again elsewhere, as often as the scheduler's `allowed-failures` permits;
    then once more with nothing else under way, so that it cannot be blamed for its neighbour.
    """

    address: str
    """Of the scheduler, as tcp://host:8786; or "local" for a cluster of processes here."""
    workers: int
    """Processes of a local cluster; elsewhere the scheduler knows."""
    initializer: Callable[[int], None] | None = None
    """Called first in every worker, with its slot 0..workers-1; elsewhere always with 0."""
    patience_s: float = 60.0
    """Seconds to wait for the scheduler, and for a worker when there is none."""

    def run(
        self, task: Callable[[int], T], steps: Iterable[int], *, stop: Callable[[], bool]
    ) -> Generator[Done[T]]:
        """See `Executor`; at most two steps per thread of the cluster are under way or wait there.

        Raises:
            ResourceError: If the scheduler is unreachable or lost, or no worker is left.
            MismatchError: If versions differ between here and there.
        """
        with ExitStack() as closing:
            closing.enter_context(_silence(_LOGGERS if self.address == LOCAL else _LOGGERS[1:]))
            closing.enter_context(self._explained())
            client = closing.enter_context(self._connected())
            _check_versions(client)
            closing.enter_context(_prepared(client, _Setup(self.initializer, local=self.address == LOCAL)))
            flight: _Flight[T] = _Flight(client, task, self.patience_s)
            yield from _fly(flight, iter(steps), stop)

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        with ExitStack() as closing:
            target: str | LocalCluster = self.address
            if self.address == LOCAL:
                folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="buildmap-"))
                closing.enter_context(dask.config.set({**_LOCAL_CONFIG, "temporary-directory": folder}))
                target = closing.enter_context(_local_cluster(self.workers))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = closing.enter_context(Client(target, timeout=self.patience_s, set_as_default=False))
            client.wait_for_workers(1, timeout=self.patience_s)
            yield client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CancelledError, ClosedClientError) as error:
            raise ResourceError(
                f"no connection to the dask cluster {self.address}: {error or type(error).__name__}",
                hint="what is done is saved: run again when the scheduler and a worker are up",
            ) from error


def _fly(flight: "_Flight[T]", todo: Iterator[int], stop: Callable[[], bool]) -> Generator[Done[T]]:
    tries: Counter[int] = Counter()
    suspects: list[int] = []
    stopping = False
    while True:
        if not stopping and stop():
            stopping = True
            flight.cancel_waiting()
        room = flight.room()
        if not stopping:
            for step in islice(todo, room):
                flight.submit(step)
            if suspects and not flight.steps:
                flight.submit(suspects.pop())
        if not flight.steps:
            first = None if stopping else next(todo, None)
            if first is None:
                return
            todo = chain([first], todo)  # no worker is there yet to take it
        landed = flight.land()
        if landed is None:
            continue
        done, killed = landed
        tries[done.step] += 1
        if done.error is None or tries[done.step] > 1:
            yield done
        elif killed:
            suspects.append(done.step)
        else:
            flight.submit(done.step)


class _Flight(Generic[T]):
    """The steps under way, by key."""

    def __init__(self, client: Client, task: Callable[[int], T], patience_s: float) -> None:
        self.steps: dict[Key, int] = {}
        self._client, self._task, self._patience_s = client, task, patience_s
        self._landed: SimpleQueue[Future[Done[T]]] = SimpleQueue()
        self._futures: dict[Key, Future[Done[T]]] = {}
        self._alone_since_s: float | None = None

    def room(self) -> int:
        threads: int = sum(self._client.nthreads().values())
        if threads:
            self._alone_since_s = None
        elif self._alone_since_s is None:
            self._alone_since_s = monotonic()
        elif monotonic() - self._alone_since_s > self._patience_s:
            raise OSError(f"no worker for {self._patience_s:g} s")
        return max(_STEPS_PER_THREAD * threads - len(self.steps), 0)

    def submit(self, step: int) -> None:
        future = self._client.submit(attempt, self._task, step, pure=False)
        self.steps[future.key] = step
        self._futures[future.key] = future
        future.add_done_callback(self._landed.put)

    def land(self) -> tuple[Done[T], bool] | None:
        """Wait a moment for a step to end, and say whether it killed its workers; None if none ends."""
        killed = False
        try:
            future = self._landed.get(timeout=_POLL_S)
        except Empty:
            return None
        if future.key not in self.steps:
            return None
        try:
            done = future.result(timeout=self._patience_s)
        except TimeoutError:  # lost with its worker, and being made again
            self._landed.put(future)
            return None
        except KilledWorker as error:
            deaths = error.allowed_failures + 1
            message = f"{KilledWorker.__name__}: {deaths} workers died in turn, each while it had this step"
            done = Done(step=self.steps[future.key], result=None, error=message)
            killed = True
        self._drop(future.key)
        return done, killed

    def cancel_waiting(self) -> None:
        """Take back what no worker has begun."""
        begun = {key for keys in self._client.run(_executing).values() for key in keys}
        for key, future in list(self._futures.items()):
            if key not in begun and not future.done():
                future.cancel()
                self._drop(key)

    def _drop(self, key: Key) -> None:
        del self.steps[key]
        self._futures.pop(key).release()


class _Setup(WorkerPlugin):
    """Prepares every worker before its first step, also one that joins or is restarted later."""

    name = "buildmap"

    def __init__(self, initializer: Callable[[int], None] | None, *, local: bool) -> None:
        self._initializer, self._local = initializer, local

    def setup(self, worker: Worker) -> None:
        if self._local:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            for number in (signal.SIGINT, signal.SIGTERM):  # they are the driver's to answer
                signal.signal(number, signal.SIG_IGN)
        if self._initializer:
            self._initializer(int(worker.name) if self._local else 0)


@contextmanager
def _prepared(client: Client, setup: _Setup) -> Iterator[None]:
    try:
        client.register_plugin(setup)
        yield
    finally:
        if client.status == "running":  # others may use the cluster next
            client.unregister_worker_plugin(setup.name)


def _local_cluster(workers: int) -> LocalCluster:
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # else it takes a well-known port
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={**quiet, "allowed_failures": _DEATHS_FORGIVEN},
        )
    except RuntimeError as error:
        raise ResourceError(str(error), hint="run without --dask local") from error


def _executing(dask_worker: Worker) -> list[Key]:
    return [task.key for task in dask_worker.state.executing]


def _check_versions(client: Client) -> None:
    seen = cast("VersionsDict", client.get_versions(packages=["buildmap"]))
    there = {"the scheduler": seen["scheduler"], **seen["workers"]}
    for package in ("buildmap", "distributed", "python"):
        here = _version(seen["client"], package)
        for name, parts in there.items():
            if (found := _version(parts, package)) != here:
                raise MismatchError(
                    f"{name} has {package} {found}, this machine has {here}",
                    hint=f"install {package} {here} there",
                )


def _version(parts: dict[str, dict[str, Any]], package: str) -> str | None:
    version = parts["packages"].get(package)
    return ".".join(version.split(".")[:2]) if version and package == "python" else version


@contextmanager
def _silence(loggers: Iterable[str]) -> Iterator[None]:
    """Keep dask from telling in its words what is told in ours."""
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
