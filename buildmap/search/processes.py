"""Trials one after another, or as many at a time as there are devices, each in a process of its own.

A process that is killed takes no other trial along; when this one ends, all of them do.
"""

import logging
import signal
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from logging.handlers import QueueHandler
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from buildmap.errors import BuildmapError
from buildmap.execution.progress import Progress
from buildmap.search.trial import Job, Trial
from buildmap.training.device import Devices
from buildmap.training.processes import Line, end_with_parent

_FAREWELL_S = 10.0
"""How long a process may take to end of itself."""


def run_jobs(
    jobs: Sequence[Job], devices: Devices, progress: Progress, *, of: int
) -> Generator[tuple[Job, Trial]]:
    """Do trainings, each on one device.

    Args:
        jobs: What to do, in this order.
        devices: With one, trainings are done in this process, one after another.
        progress: Hears of each epoch.
        of: Trials of the whole search.

    Yields:
        Jobs with what they have shown, in the order in which they end.

    Raises:
        BuildmapError: What would end every trial alike, or the disk, has to say.
    """
    if len(devices.indices) > 1:
        yield from _run_at_once(jobs, devices, progress, of=of)
        return
    for job in jobs:
        yield job, job.run(_Titled(progress, f"trial {job.number + 1}/{of}, "))


def _run_at_once(
    jobs: Sequence[Job], devices: Devices, progress: Progress, *, of: int
) -> Generator[tuple[Job, Trial]]:
    free = [f"cuda:{index}" if devices.kind == "cuda" else "cpu" for index in devices.indices]
    free.reverse()
    threads = _threads_each(len(free))
    left, running = list(reversed(jobs)), dict[Connection, _Run]()
    progress.start("trials", len(jobs))
    try:
        while left or running:
            while left and free:
                run = _start(left.pop(), free.pop(), threads=threads, of=of)
                running[run.line] = run
            for line in wait(list(running)):
                run = running[line]  # type: ignore[index]  # wait gives what it was given
                trial = run.listen(progress)
                if trial is not None:
                    free.append(running.pop(run.line).end())
                    progress.advance()
                    yield run.job, trial
    finally:
        for run in running.values():
            run.process.terminate()
        for run in running.values():
            run.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A training that goes on in a process."""

    job: Job
    device: str
    """Where, as `find_devices` takes it."""
    process: BaseProcess
    line: Connection
    """On which it tells."""

    def listen(self, progress: Progress) -> Trial | None:
        """Take one message; gives what the trial has shown once it has ended.

        Raises:
            BuildmapError: What the process has raised.
        """
        try:
            kind, content = self.line.recv()
        except (EOFError, ConnectionError):
            return Trial(settings=self.job.settings, failure=self._how_it_died())
        match kind:
            case "note":
                progress.note(content)
                progress.advance(0)  # which draws it
            case "log":
                logging.getLogger(content.name).handle(content)
            case "error":
                raise content
            case _:
                result: Trial = content
                return result
        return None

    def end(self) -> str:
        """Wait for the process, not for ever; gives the device back."""
        self.process.join(timeout=_FAREWELL_S)
        self.process.kill()
        self.process.join()
        self.line.close()
        return self.device

    def _how_it_died(self) -> str:
        self.process.join(timeout=_FAREWELL_S)
        code = self.process.exitcode or 0
        if code < 0:
            return f"its process was ended by signal {-code}: memory may have been short"
        return f"its process ended with code {code}; see above for what it said"


def _start(job: Job, device: str, *, threads: int, of: int) -> _Run:
    # CUDA does not survive a fork, so what is forked is a process that has imported all and used nothing.
    context = get_context("forkserver")
    context.set_forkserver_preload([_work.__module__])
    ours, theirs = context.Pipe()
    job = replace(job, options=replace(job.options, device=device))
    level = logging.getLogger("buildmap").getEffectiveLevel()
    title = f"trial {job.number + 1}/{of}"
    process = context.Process(target=_work, args=(job, theirs, title, threads, level), daemon=True)
    process.start()
    theirs.close()  # so that the line breaks when the process dies
    return _Run(job=job, device=device, process=process, line=ours)


def _threads_each(processes: int) -> int:
    """Share this process's computing threads out: the number of threads decides the last bits on a CPU."""
    import torch

    return max(torch.get_num_threads() // processes, 1)


def _work(job: Job, connection: Connection, title: str, threads: int, log_level: int) -> None:
    """Do a training in this process."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who watches decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    line = _TitledLine(connection, title)
    logging.getLogger("buildmap").setLevel(log_level)
    logging.getLogger().handlers = [QueueHandler(line)]  # type: ignore[arg-type]
    try:
        line.say("trial", job.run(line))
    except BuildmapError as error:
        line.say("error", error)


class _TitledLine(Line):
    """Says of progress and log which trial they belong to."""

    def __init__(self, connection: Connection, title: str) -> None:
        super().__init__(connection)
        self._title = title

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Hand on a log record, as a queue does."""
        record.msg = record.message = f"{self._title}: {record.getMessage()}"
        super().put_nowait(record)

    def start(self, task: str, total: int) -> None:  # noqa: ARG002 (one line cannot show the steps of several)
        self.say("note", f"{self._title}, {task}")

    def advance(self, steps: int = 1) -> None:
        """Keep it: one line cannot show the steps of several trials."""

    def note(self, text: str) -> None:
        """Keep it."""


class _Titled:
    """Says of every task which trial it belongs to."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title

    def start(self, task: str, total: int) -> None:
        self._progress.start(f"{self._title}{task}", total)

    def advance(self, steps: int = 1) -> None:
        self._progress.advance(steps)

    def note(self, text: str) -> None:
        self._progress.note(text)
