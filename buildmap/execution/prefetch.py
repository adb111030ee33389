"""Working ahead in threads, by a bounded number of steps, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(make: Callable[[S], T], steps: Iterable[S], *, workers: int, ahead: int) -> Generator[T]:
    """Give `make(step)` for every step, in order, while the next `ahead` are in the making.

    An exception in a thread is raised here, at its step. When the consumer stops, so do the threads.
    """
    todo = iter(steps)
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[T]] = deque()
    try:
        pending.extend(pool.submit(make, step) for step in islice(todo, ahead))
        while pending:
            done = pending.popleft().result()
            pending.extend(pool.submit(make, step) for step in islice(todo, 1))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
