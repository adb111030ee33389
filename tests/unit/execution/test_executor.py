"""Executors: every step once whatever fails, in bounded memory, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from buildmap.errors import ResourceError
from buildmap.execution.executor import Done, Processes, take_gpu
from tests.unit.execution import tasks

TWO = Processes(workers=2, ahead=3)


def never() -> bool:
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_step_is_done_once_and_a_failing_one_is_told() -> None:
    done = list(TWO.run(tasks.fail_at_three, range(6), stop=never))
    assert sorted(one.step for one in done) == list(range(6))
    assert {one.step: one.result for one in done} == {0: 0, 1: 1, 2: 2, 3: None, 4: 4, 5: 5}
    assert {one.step: one.error for one in done if one.error} == {3: "KeyError: 'three'"}


def test_a_step_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    done = TWO.run(partial(tasks.fail_once, tmp_path), range(4), stop=never)
    assert sorted((one.result, one.error) for one in done) == [(n, None) for n in range(4)]


def test_an_error_every_step_would_meet_is_raised_at_once_with_its_hint() -> None:
    with pytest.raises(ResourceError, match="no GPU 7") as error:
        list(TWO.run(tasks.need_a_gpu, range(1000), stop=never))
    assert error.value.hint == "--device cpu"


def test_asked_to_stop_it_gives_what_is_in_hand_and_begins_nothing_new(tmp_path: Path) -> None:
    given: list[Done[int]] = []
    for done in TWO.run(partial(tasks.count, tmp_path), range(1000), stop=lambda: len(given) >= 2):
        given.append(done)
    begun = len(list(tmp_path.iterdir()))
    assert len(given) == begun <= 5


def test_no_more_results_than_asked_for_wait_for_the_consumer(tmp_path: Path) -> None:
    run = TWO.run(partial(tasks.count, tmp_path), range(100), stop=never)
    for begun in (3, 4, 5):
        next(run)
        wait_for(lambda begun=begun: len(list(tmp_path.iterdir())) == begun)
        time.sleep(0.1)  # for one too many to show
        assert len(list(tmp_path.iterdir())) == begun
    run.close()


def test_a_killed_worker_is_replaced_and_its_step_done_elsewhere(tmp_path: Path) -> None:
    done = TWO.run(partial(tasks.die_once, tmp_path), range(8), stop=never)
    assert sorted((one.result, one.error) for one in done) == [(n * n, None) for n in range(8)]


def test_a_step_that_kills_every_worker_is_told_and_takes_no_sibling_with_it() -> None:
    done = list(TWO.run(tasks.die_at_three, range(8), stop=never))
    assert sorted(one.result for one in done if one.error is None) == [n * n for n in range(8) if n != 3]
    assert [one.step for one in done if one.error and "worker process died" in one.error] == [3]


def test_workers_are_told_their_slots_and_keep_their_processes() -> None:
    numbered = Processes(workers=2, ahead=2, initializer=tasks.keep_slot)
    assert {one.result for one in numbered.run(tasks.slot, range(30), stop=never)} == {"0", "1"}
    assert len({one.result for one in TWO.run(tasks.pid, range(30), stop=never)}) == 2


def test_each_worker_sees_a_gpu_of_its_own() -> None:
    pinned = Processes(workers=2, ahead=2, initializer=partial(take_gpu, ("4", "GPU-7")))
    assert {one.result for one in pinned.run(tasks.visible_gpu, range(30), stop=never)} == {"4", "GPU-7"}


def test_a_worker_that_cannot_start_ends_the_run() -> None:
    with pytest.raises(ResourceError, match="no GPU 7"):
        list(Processes(workers=2, ahead=2, initializer=tasks.refuse).run(tasks.square, range(9), stop=never))


def test_no_process_is_left_when_the_consumer_leaves(tmp_path: Path) -> None:
    run = Processes(workers=2, ahead=2).run(partial(tasks.linger, tmp_path), range(100), stop=never)
    next(run)
    run.close()
    assert len(list(tmp_path.glob("*.pid"))) == 2
    assert tasks.gone(tmp_path)


def test_an_error_in_the_steps_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(TWO.run(tasks.square, (1 // n for n in (1, 1, 0, 1)), stop=never))


def test_workers_leave_signals_to_their_parent_and_end_when_it_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.execution.drive", "processes", tmp_path], stderr=subprocess.PIPE
    )
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    for path in tmp_path.glob("*.pid"):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(int(path.stem), number)
    wait_for(lambda: len(list(tmp_path.glob("*.done"))) >= 6)
    assert len(list(tmp_path.glob("*.pid"))) == 2  # nobody was replaced
    parent.kill()
    wait_for(lambda: tasks.gone(tmp_path))
    _, err = parent.communicate()
    assert b"Traceback" not in err
