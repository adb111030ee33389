"""Steps get done in any order and are given in theirs."""

from collections.abc import Generator

import pytest

from buildmap.errors import IncompleteError, Stopped
from buildmap.execution.arrivals import InOrder

Closed = list[str]


def arriving(steps: list[int], closed: Closed) -> Generator[int]:
    try:
        yield from steps
    finally:
        closed.append("closed")


def in_order(
    steps: range, done: set[int], arrive: list[int], *, closed: Closed | None = None, stopped: bool = False
) -> InOrder:
    return InOrder(
        steps,
        done=done,
        arriving=arriving(arrive, [] if closed is None else closed),
        stop=lambda: stopped,
        name="bands",
        hint="do them",
    )


def test_steps_come_in_order_however_they_arrive() -> None:
    assert list(in_order(range(2, 7), {3}, [6, 2, 5, 4])) == [2, 3, 4, 5, 6]


def test_nothing_more_is_waited_for_than_the_next_step_needs() -> None:
    closed: Closed = []
    steps = iter(in_order(range(4), {0}, [2, 1, 3], closed=closed))
    assert next(steps) == 0
    assert next(steps) == 1
    assert closed == []
    assert [next(steps), next(steps)] == [2, 3]
    assert closed == ["closed"]  # with the last, not after it


def test_steps_can_be_gone_through_again() -> None:
    steps = in_order(range(3), set(), [2, 1, 0])
    assert [list(steps), list(steps)] == [[0, 1, 2]] * 2


def test_a_step_that_nobody_does_is_told() -> None:
    with pytest.raises(IncompleteError, match=r"^6 of 9 bands are missing: 1, 3, 4, 5, 6, \.\.\.$") as error:
        list(in_order(range(9), {0}, [2, 7]))
    assert error.value.hint == "do them"
    with pytest.raises(IncompleteError, match=r"^1 of 2 bands are missing: 1$"):
        list(in_order(range(2), {0}, []))


def test_a_run_that_was_stopped_says_how_far_it_came() -> None:
    with pytest.raises(Stopped, match=r"^interrupted after 2/4 bands$") as error:
        list(in_order(range(4), {3}, [1], stopped=True))
    assert error.value.hint == "run the same command again to resume"


def test_closing_ends_the_work() -> None:
    closed: Closed = []
    steps = in_order(range(3), set(), [0, 1, 2], closed=closed)
    next(iter(steps))
    steps.close()
    assert closed == ["closed"]
