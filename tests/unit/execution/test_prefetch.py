"""Working ahead: in order, bounded, and stopped in time."""

import threading

import pytest

from buildmap.execution.prefetch import prefetch


def test_results_come_in_order_whatever_the_workers() -> None:
    assert list(prefetch(lambda n: n * n, range(50), workers=4, ahead=7)) == [n * n for n in range(50)]


def test_never_more_than_asked_for_are_under_way_ahead_of_the_consumer() -> None:
    started: list[int] = []
    stream = prefetch(lambda n: started.append(n) or n, range(100), workers=1, ahead=3)
    assert next(stream) == 0
    stream.close()
    assert len(started) <= 4


def test_an_exception_is_raised_at_its_step() -> None:
    def make(step: int) -> int:
        if step == 3:
            raise KeyError(step)
        return step

    stream = prefetch(make, range(9), workers=2, ahead=4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(stream)


def test_threads_are_gone_when_the_consumer_stops() -> None:
    before = threading.active_count()
    stream = prefetch(lambda n: n, range(100), workers=3, ahead=5)
    next(stream)
    stream.close()
    assert threading.active_count() == before
