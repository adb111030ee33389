"""Working ahead: in order, bounded, never starved by its source, and stopped in time."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.execution.prefetch import Waiting, prefetch

ABANDONED = """
import threading
from buildmap.execution.prefetch import prefetch
def main():
    inner = prefetch(lambda n: n, range(100), workers=2, ahead=4, key=lambda n: n)
    outer = prefetch(lambda n: n, inner, workers=2, ahead=4)
    assert next(outer) == 0
    raise ValueError("abandoned")
main()
"""


def test_results_come_in_order_whatever_the_workers() -> None:
    assert list(prefetch(lambda n: n * n, range(50), workers=4, ahead=7)) == [n * n for n in range(50)]


def test_never_more_than_asked_for_are_under_way_ahead_of_the_consumer() -> None:
    started: list[int] = []
    stream = prefetch(lambda n: started.append(n) or n, range(100), workers=1, ahead=3)
    assert next(stream) == 0
    stream.close()
    assert len(started) <= 4


def test_no_more_steps_are_drawn_than_are_under_way() -> None:
    drawn: list[int] = []
    stream = prefetch(str, (drawn.append(n) or n for n in range(100)), workers=2, ahead=3)
    for consumed in range(1, 20):
        next(stream)
        assert len(drawn) <= consumed + 3
    stream.close()


def test_an_exception_is_raised_at_its_step() -> None:
    def make(step: int) -> int:
        if step == 3:
            raise KeyError(step)
        return step

    stream = prefetch(make, range(9), workers=2, ahead=4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(stream)


def test_an_exception_in_the_steps_is_raised_after_the_results_before_it() -> None:
    stream = prefetch(str, (6 // n for n in (3, 2, 0)), workers=2, ahead=4)
    assert [next(stream), next(stream)] == ["2", "3"]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_threads_are_gone_when_the_consumer_stops() -> None:
    before = threading.active_count()
    stream = prefetch(lambda n: n, range(100), workers=3, ahead=5)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_steps_of_one_key_share_a_thread_and_others_do_not() -> None:
    made = prefetch(
        lambda n: (n % 3, threading.get_ident()), range(60), workers=3, ahead=9, key=lambda n: n % 3
    )
    pairs = set(made)
    assert len(pairs) == len({thread for _, thread in pairs}) == 3


def test_a_slow_lane_does_not_stop_the_others() -> None:
    free, arrived = threading.Event(), threading.Event()

    def make(step: int) -> int:
        if step == 0:
            free.wait(30)
        elif step == 3:
            arrived.set()
        return step

    stream = prefetch(make, range(4), workers=2, ahead=4, key=lambda n: n)
    results: list[int] = []
    consumer = threading.Thread(target=lambda: results.extend(stream))
    consumer.start()
    assert arrived.wait(30)
    free.set()
    consumer.join(30)
    assert results == [0, 1, 2, 3]


def test_a_result_is_handed_on_while_the_source_of_steps_blocks() -> None:
    more = threading.Event()

    def steps() -> Iterator[int]:
        yield 0
        assert more.wait(30)
        yield 1

    stream = prefetch(lambda n: n, steps(), workers=1, ahead=2)
    assert next(stream) == 0  # would wait for ever if the consumer's thread drew the next step
    more.set()
    assert list(stream) == [1]


@given(
    count=st.integers(0, 40),
    stages=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6), st.booleans()), min_size=1, max_size=3),
    leave_after=st.integers(0, 45),
    fail_at=st.integers(0, 60),
)
@settings(max_examples=60)
def test_chained_stages_keep_order_bounds_and_leave_no_thread(
    count: int, stages: list[tuple[int, int, bool]], leave_after: int, fail_at: int
) -> None:
    def make(step: int) -> int:
        if step == fail_at:
            raise KeyError(step)
        return step

    before = threading.active_count()
    drawn: list[int] = []
    chain: Iterator[int] = (drawn.append(n) or n for n in range(count))
    for workers, ahead, keyed in stages:
        chain = prefetch(make, chain, workers=workers, ahead=ahead, key=int if keyed else None)
    taken: list[int] = []
    failed = False
    try:
        for result in chain:
            taken.append(result)
            assert len(drawn) <= len(taken) + sum(ahead + 1 for _, ahead, _ in stages)
            if len(taken) == leave_after:
                break
    except KeyError:
        failed = True
    chain.close()
    reached = min(count, fail_at)
    expected = reached if leave_after == 0 else min(reached, leave_after)
    assert taken == list(range(expected))
    assert failed == (fail_at < count and not 0 < leave_after <= fail_at)
    assert threading.active_count() == before


def test_an_abandoned_chain_does_not_keep_the_interpreter_alive() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stderr.rstrip().endswith("ValueError: abandoned")


def test_waiting_is_counted_where_results_are_missing_and_only_there() -> None:
    late, ready = Waiting(), Waiting()
    list(prefetch(lambda _: time.sleep(0.05), range(4), workers=1, ahead=1, waiting=late))
    assert late.seconds >= 0.19
    made = [threading.Event() for _ in range(4)]
    stream = prefetch(lambda n: made[n].set(), range(4), workers=1, ahead=4, waiting=ready)
    next(stream)
    first = ready.seconds
    assert all(event.wait(30) for event in made)
    assert len(list(stream)) == 3
    assert ready.seconds - first < 0.19
