"""A process for each device of a training, watched from the one that was started by the user.

With one device there is no other process. With several, each is computed for by a process of its own, and
this one hears of their progress, hands on their log, and ends them all when one fails.
"""

import logging
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from buildmap.errors import BuildmapError, ResourceError
from buildmap.execution.progress import Progress, Silent
from buildmap.training.device import Devices, Precision, open_fabric

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_OTHERS_TURN_S = 5.0
"""How long the other processes may take to say why they failed, after the first one has."""
_REAPED_S = 0.5
"""How long the system may take to say how a process has died."""
_FAREWELL_S = 10.0
"""How long a process may take to end of itself."""


class Task(Protocol[T_co]):
    """What every process does; it is pickled, so a function of a module, or `functools.partial` of one."""

    def __call__(self, *, fabric: Fabric, progress: Progress) -> T_co:
        """Do it on the process's device; only the first process has a `progress` that is heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """What a process has in common with the others."""

    devices: Devices
    """Of all processes."""
    precision: Precision
    """Of convolutions."""
    meeting: Path
    """A file in which they find each other."""
    threads: int
    """That compute, in each."""
    log_level: int
    """Of `buildmap`'s messages."""


def run_on(devices: Devices, task: Task[T], *, precision: Precision, progress: Progress) -> T:
    """Do a task on every device at once.

    Args:
        devices: With one, the task is done in this process.
        task: Ends alike everywhere; it may talk to the other processes by `torch.distributed`.
        precision: Of convolutions.
        progress: Hears of the first process.

    Returns:
        What the first process has.

    Raises:
        BuildmapError: What the task raises in any process.
        ResourceError: If a process was killed.
    """
    count = len(devices.indices)
    if count == 1:
        return task(fabric=open_fabric(devices, precision=precision), progress=progress)
    context = get_context("spawn")  # CUDA does not survive a fork
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="buildmap-")))
        setting = _Setting(
            devices=devices,
            precision=precision,
            meeting=folder / "meeting",
            threads=max(torch.get_num_threads() // count, 1),
            log_level=logging.getLogger("buildmap").getEffectiveLevel(),
        )
        processes, lines = list[BaseProcess](), list[Connection]()
        stack.callback(_end, processes)
        for rank in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(rank, setting, theirs, task), daemon=True)
            lines.append(ours)
            process.start()
            processes.append(process)
            theirs.close()  # so that the line breaks when the process dies
        result: T = Watch(devices, processes, lines, progress).result()
        _dismiss(processes, lines)
        return result


class Watch:
    """Listens to the processes until all have a result, or one fails."""

    def __init__(
        self,
        devices: Devices,
        processes: Sequence[BaseProcess],
        lines: Sequence[Connection],
        progress: Progress,
    ) -> None:
        self._devices, self._processes, self._progress = devices, processes, progress
        self._open = dict(zip(lines, range(len(lines)), strict=True))
        self._results: dict[int, Any] = {}
        self._errors: list[BuildmapError] = []
        self._tracebacks: list[str] = []

    def result(self) -> Any:
        """Give the first process's result once all have ended well."""
        while self._open:
            self._listen(timeout_s=None)
            if self._failed():
                self._hear_the_others()
                raise self._reason()
        return self._results[0]

    def _failed(self) -> bool:
        silent = set(range(len(self._processes))) - set(self._open.values()) - set(self._results)
        return bool(self._errors or self._tracebacks or silent)

    def _hear_the_others(self) -> None:
        """Wait for the reason: who loses another process often says so before that one has died."""
        while self._open and not self._errors and self._listen(timeout_s=_OTHERS_TURN_S):
            pass

    def _listen(self, timeout_s: float | None) -> bool:
        """Take one message from every process that has one; says whether there was any."""
        ready = [line for line in wait(list(self._open), timeout_s) if isinstance(line, Connection)]
        for line in ready:
            try:
                self._hear(line, *line.recv())
            except (EOFError, ConnectionError):
                del self._open[line]
        return bool(ready)

    def _hear(self, line: Connection, kind: str, content: Any) -> None:
        match kind:
            case "progress":
                name, arguments = content
                getattr(self._progress, name)(*arguments)
            case "log":
                logging.getLogger(content.name).handle(content)
            case "result":
                self._results[self._open.pop(line)] = content
            case "error":
                self._errors.append(content)
            case _:
                self._tracebacks.append(content)
                del self._open[line]

    def _reason(self) -> BaseException:
        if self._errors:
            return self._errors[0]
        for index, process in zip(self._devices.indices, self._processes, strict=True):
            process.join(timeout=_REAPED_S)
            if process.exitcode is not None and process.exitcode < 0:
                return ResourceError(
                    f"the process of {self._devices.kind}:{index} was ended by signal {-process.exitcode}",
                    hint="memory may have been short: lower batch_size, or use fewer devices; then run again",
                )
        return RuntimeError("\n".join(self._tracebacks) or "a process failed; see above for what it said")


class Line:
    """What a process says to the one that watches it; from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def say(self, kind: str, content: Any) -> None:
        with self._lock:
            self._connection.send((kind, content))

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Hand on a log record, as a queue does."""
        self.say("log", record)


class _ToldProgress:
    """Hands progress on to the process that watches."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def start(self, task: str, total: int) -> None:
        self._line.say("progress", ("start", (task, total)))

    def advance(self, steps: int = 1) -> None:
        self._line.say("progress", ("advance", (steps,)))

    def note(self, text: str) -> None:
        self._line.say("progress", ("note", (text,)))


def _work(rank: int, setting: _Setting, connection: Connection, task: Task[Any]) -> None:
    """Do the task in this process; then wait to be dismissed, lest the others lose it in an exchange."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who watches decides
    threading.Thread(target=end_with_parent, daemon=True).start()
    line, first = Line(connection), rank == 0
    _set_up_log(line if first else None, setting.log_level)
    torch.set_num_threads(setting.threads)
    try:
        _meet(rank, setting)
        fabric = open_fabric(setting.devices, precision=setting.precision, rank=rank)
        result = task(fabric=fabric, progress=_ToldProgress(line) if first else Silent())
        line.say("result", result if first else None)
    except BuildmapError as error:
        line.say("error", error)
    except RuntimeError:  # what an exchange raises when another process has died: who watches knows more
        line.say("traceback", traceback.format_exc())
    with suppress(EOFError, ConnectionError):
        connection.recv()
    if dist.is_initialized():
        dist.destroy_process_group()


def _meet(rank: int, setting: _Setting) -> None:
    """Find the other processes, through a file: no port has to be free."""
    on_gpu = setting.devices.kind == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=setting.meeting.as_uri(),
        rank=rank,
        world_size=len(setting.devices.indices),
        device_id=torch.device("cuda", setting.devices.indices[rank]) if on_gpu else None,
    )


def end_with_parent() -> None:
    """Do not outlive a parent that was killed."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _set_up_log(line: Line | None, level: int) -> None:
    """Hand the log on, or drop it: the others would only repeat the first process's."""
    logging.getLogger("buildmap").setLevel(level)
    logging.getLogger().handlers = [QueueHandler(line) if line else logging.NullHandler()]  # type: ignore[arg-type]


def _dismiss(processes: Sequence[BaseProcess], lines: Sequence[Connection]) -> None:
    """Let processes that have a result end of themselves."""
    for line in lines:
        line.close()
    for process in processes:
        process.join(timeout=_FAREWELL_S)


def _end(processes: Sequence[BaseProcess]) -> None:
    """End what is still alive."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=_FAREWELL_S)
        process.kill()
        process.join()
