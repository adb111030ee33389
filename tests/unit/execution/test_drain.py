"""Signals: the first asks, the second forces, and afterwards all is as before."""

import signal
import subprocess
import sys
import threading

import pytest

from buildmap.errors import Stopped
from buildmap.execution.drain import draining

WORK = """
import signal, sys, time
from buildmap.execution.drain import draining
with draining() as drain:
    print("ready", flush=True)
    while drain.asked is None:
        time.sleep(0.01)
    print("asked", drain.asked, flush=True)
    if sys.argv[1] == "linger":
        time.sleep(30)
print("ended", flush=True)
"""


def start(mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_work_ends_in_order(number: signal.Signals) -> None:
    process = start("end")
    process.send_signal(number)
    assert process.communicate(timeout=30) == (f"asked {number.value}\nended\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT, -signal.SIGINT),
        (signal.SIGINT, signal.SIGINT, -signal.SIGINT),
    ],
)
def test_the_second_signal_ends_it_now(first: signal.Signals, second: signal.Signals, code: int) -> None:
    process = start("linger")
    process.send_signal(first)
    assert process.stdout is not None
    assert process.stdout.readline() == f"asked {first.value}\n"
    process.send_signal(second)
    out, _ = process.communicate(timeout=10)
    assert (out, process.returncode) == ("", code)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with draining() as drain:
        assert signal.getsignal(signal.SIGTERM) != before[1]
        signal.raise_signal(signal.SIGTERM)
        assert drain.asked == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_that_stops_ends_with_the_code_of_the_signal() -> None:
    def run() -> None:
        with draining():
            signal.raise_signal(signal.SIGINT)
            raise Stopped("interrupted")

    with pytest.raises(Stopped) as caught:
        run()
    assert caught.value.exit_code == 130


def test_outside_the_main_thread_nothing_is_installed() -> None:
    seen = []

    def work() -> None:
        with draining() as drain:
            seen.append((signal.getsignal(signal.SIGTERM), drain.asked))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, None)]
