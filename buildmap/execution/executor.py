"""Running a task for every step in processes; what fails is told, not lost."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from buildmap.errors import MismatchError, MissingInput, ResourceError

T = TypeVar("T")

_LASTING = (MismatchError, MissingInput, ResourceError)
"""Errors of the set-up: every step would meet them."""

_DEATH = "the worker process died: killed, or out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """What became of a step."""

    step: int
    """Its number."""
    result: T | None
    """What the task gave; None also if it failed."""
    error: str | None = None
    """Class and message of the error, if it failed twice."""


class Executor(Protocol):
    """Runs a task for many steps."""

    def run(
        self, task: Callable[[int], T], steps: Iterable[int], *, stop: Callable[[], bool]
    ) -> Generator[Done[T]]:
        """Give what became of every step, in any order.

        A step that fails is tried once more. Close the iterator to leave early.

        Args:
            task: What to do; processes need to pickle it.
            steps: Numbers of the steps, drawn from as room is free.
            stop: When it says True no step is begun any more; those in hand are finished and given.

        Raises:
            ResourceError: If a worker cannot be set up, or from the task: it is not tried again.
            MismatchError: From the task: it is not tried again.
            MissingInput: From the task: it is not tried again.
        """


def attempt(task: Callable[[int], T], step: int) -> Done[T]:
    """Run one step and give its result or its error; only errors that every step would meet are raised."""
    result = None
    with _Caught() as caught:
        result = task(step)
    return Done(step=step, result=result, error=caught.error)


def take_gpu(gpus: tuple[str, ...], slot: int) -> None:
    """Let this process see one GPU only: an initializer, as `partial(take_gpu, ("0", "1"))`.

    It has an effect only before CUDA starts in this process.

    Args:
        gpus: As CUDA_VISIBLE_DEVICES lists them, by number or UUID.
        slot: Number of the worker; workers take the GPUs in turn.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Several steps at a time, each in a process that lives on for the next.

    A process that dies is replaced and costs its own step one of two attempts. Processes leave SIGINT
    and SIGTERM to their parent and end within moments when it does, however it does.
    """

    workers: int
    """Number of processes; one that finds no step is never started."""
    ahead: int
    """Results at most that are in the making, wait for the consumer or are in its hands."""
    initializer: Callable[[int], None] | None = None
    """Called first in every process, with its slot, 0..workers-1; a replacement has the slot of the dead."""

    def run(
        self, task: Callable[[int], T], steps: Iterable[int], *, stop: Callable[[], bool]
    ) -> Generator[Done[T]]:
        """See `Executor`."""
        todo, drawing = iter(steps), threading.Lock()
        idle: SimpleQueue[_Worker] = SimpleQueue()
        finished: SimpleQueue[Future[Done[T] | None]] = SimpleQueue()

        def pull() -> Done[T] | None:
            with drawing:
                step = None if stop() else next(todo, None)
            if step is None:
                return None
            worker = idle.get()
            try:
                return worker.run(task, step)
            finally:
                idle.put(worker)

        with ExitStack() as closing:
            threads = closing.enter_context(ThreadPoolExecutor(self.workers))
            for slot in range(self.workers):
                worker = _Worker(slot, self.initializer)
                closing.callback(worker.end)
                idle.put(worker)
            closing.callback(threads.shutdown, wait=False, cancel_futures=True)
            for _ in range(self.ahead):
                threads.submit(pull).add_done_callback(finished.put)
            under_way = self.ahead
            while under_way:
                done = finished.get().result()
                if done is None:
                    under_way -= 1
                    continue
                yield done
                del done  # while the next one comes
                threads.submit(pull).add_done_callback(finished.put)


class _Worker:
    """A slot, and the process in it: a pool of one, because a pool that loses a process loses every step."""

    def __init__(self, slot: int, initializer: Callable[[int], None] | None) -> None:
        self._initialize = partial(initializer, slot) if initializer else os.getpid
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._ended = False
        self._changing = threading.Lock()

    def run(self, task: Callable[[int], T], step: int) -> Done[T]:
        done = self._try(task, step)
        return self._try(task, step) if done.error else done

    def end(self) -> None:
        """Kill the process, and start none any more."""
        with self._changing:
            self._ended = True
            self._kill()

    def _try(self, task: Callable[[int], T], step: int) -> Done[T]:
        try:
            if self._pool is None:
                self._start().submit(self._initialize).result()
            return self._start().submit(attempt, task, step).result()
        except BrokenProcessPool:
            with self._changing:
                self._kill()
            return Done(step=step, result=None, error=_DEATH)

    def _start(self) -> ProcessPoolExecutor:
        with self._changing:
            if self._ended:
                raise CancelledError
            if self._pool is None:
                follow, self._leash = get_context("spawn").Pipe(duplex=False)
                self._pool = ProcessPoolExecutor(
                    1, mp_context=get_context("spawn"), initializer=_stay_with, initargs=(follow,)
                )
                # inherited by the process at its first submit, so that it is deaf from its first instant
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            return self._pool

    def _kill(self) -> None:
        if self._leash:
            self._leash.close()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._leash = self._pool = None


class _Caught:
    """Turns an error in its block into text, whatever its class: the caller decides what it means."""

    def __init__(self) -> None:
        self.error: str | None = None

    def __enter__(self) -> "_Caught":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, _LASTING):
            return False
        self.error = f"{type(error).__name__}: {error}"
        return True


def _stay_with(parent: Connection) -> None:
    """End this process when the parent lets go of its end of the pipe, by will or by dying."""

    def follow() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
