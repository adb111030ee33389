"""Working ahead in threads, by a bounded number of steps, in order; such stages may feed each other."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


@dataclass(slots=True)
class Waiting:
    """How long a consumer has stood still for want of a result."""

    seconds: float = 0.0
    """So far."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time the block takes."""
        since = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - since


def prefetch(
    make: Callable[[S], T],
    steps: Iterable[S],
    *,
    workers: int,
    ahead: int,
    key: Callable[[S], int] | None = None,
    waiting: Waiting | None = None,
) -> Generator[T]:
    """Give `make(step)` for every step, in order, while the next `ahead` are in the making.

    `steps` is drawn from in a thread of its own, so it may block (as another `prefetch` does) while
    results are handed on; it is closed at the end if it is a generator. An exception in a thread is
    raised here, at its step. When the consumer stops, so do the threads, after the step in hand.

    Args:
        make: What to do, in a thread.
        steps: What to do it with.
        workers: Number of threads.
        ahead: Results at most that are in the making or wait for the consumer.
        key: Steps whose keys are equal modulo `workers` run in the same thread; without it, any does.
        waiting: Where to count the consumer's waiting.
    """
    waiting = waiting or Waiting()
    todo = iter(steps)
    with ExitStack() as closing:
        if isinstance(todo, Generator):
            closing.callback(todo.close)
        lanes = [ThreadPoolExecutor(1) for _ in range(workers)] if key else [ThreadPoolExecutor(workers)]
        for lane in lanes:
            closing.callback(lane.shutdown)
        puller = ThreadPoolExecutor(1)
        closing.callback(puller.shutdown, cancel_futures=True)
        for lane in lanes:  # first of all, so that nobody makes what nobody wants
            closing.callback(lane.shutdown, wait=False, cancel_futures=True)

        def pull() -> Future[T] | None:
            for step in islice(todo, 1):
                return lanes[key(step) % workers if key else 0].submit(make, step)
            return None

        pulls = deque(puller.submit(pull) for _ in range(ahead))
        while True:
            with waiting.counting():
                made = pulls.popleft().result()
                if made is None:
                    return
                result = made.result()
            pulls.append(puller.submit(pull))
            yield result
