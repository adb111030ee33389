"""Stopping well: the first signal asks for an end, the second forces it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from buildmap.errors import Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Drain:
    """Whether the run is asked to end."""

    asked: int | None = None
    """Number of the signal that asked."""


@contextmanager
def draining() -> Iterator[Drain]:
    """Take the first SIGINT or SIGTERM as a wish to end; the next one does what it did before.

    Handlers belong to the main thread: in another thread nothing is installed, and nothing is asked.

    Raises:
        Stopped: From the block, with the exit code of the signal that asked.
    """
    drain = Drain()
    if threading.current_thread() is not threading.main_thread():
        yield drain
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: FrameType | None) -> None:
        drain.asked = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield drain
    except Stopped as stopped:
        stopped.exit_code = 128 + (drain.asked or signal.SIGTERM)
        raise
    finally:
        restore()
