"""The dask cluster: the same results whatever dies, and every loss told."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from buildmap.errors import MismatchError, ResourceError
from buildmap.execution.cluster import Cluster
from tests.unit.execution import tasks

LOCAL = Cluster(address="local", workers=2, initializer=tasks.keep_slot)
SQUARES = [(n * n, None) for n in range(12)]

ABSENT = """
import sys
sys.modules["distributed"] = None
from buildmap.errors import ResourceError
try:
    import buildmap.execution.cluster
except ResourceError as error:
    print(error.hint)
"""


def never() -> bool:
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = str(tmp_path_factory.mktemp("dask"))
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s", "temporary-directory": folder}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            silence_logs=50,
            scheduler_kwargs={"allowed_failures": 1, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
    ):
        yield Cluster(address=cluster.scheduler_address, workers=0)


def test_a_step_that_fails_is_told_and_its_siblings_are_done(elsewhere: Cluster) -> None:
    done = list(elsewhere.run(tasks.fail_at_three, range(12), stop=never))
    assert sorted(one.step for one in done) == list(range(12))
    assert {one.step: one.error for one in done if one.error} == {3: "KeyError: 'three'"}


def test_a_step_that_fails_once_is_tried_again(elsewhere: Cluster, tmp_path: Path) -> None:
    done = elsewhere.run(partial(tasks.fail_once, tmp_path), range(6), stop=never)
    assert sorted((one.result, one.error) for one in done) == [(n, None) for n in range(6)]


def test_an_error_every_step_would_meet_is_raised_at_once_with_its_hint(elsewhere: Cluster) -> None:
    with pytest.raises(ResourceError, match="no GPU 7") as error:
        list(elsewhere.run(tasks.need_a_gpu, range(1000), stop=never))
    assert error.value.hint == "--device cpu"


def test_asked_to_stop_it_gives_what_is_begun_and_takes_back_the_rest(elsewhere: Cluster) -> None:
    given: list[int] = []
    for done in elsewhere.run(tasks.slow_but_for_the_first, range(1000), stop=lambda: bool(given)):
        given.append(done.step)
    assert given[0] == 0
    assert len(given) <= 3  # two workers had begun one each; the fourth step under way waited behind them


def test_few_steps_are_drawn_ahead(elsewhere: Cluster) -> None:
    drawn: list[int] = []
    run = elsewhere.run(tasks.square, (drawn.append(n) or n for n in range(1000)), stop=never)
    for given in range(1, 6):
        next(run)
        assert len(drawn) <= given + 4
    run.close()


def test_a_worker_that_cannot_be_set_up_ends_the_run_and_spares_the_next(elsewhere: Cluster) -> None:
    with pytest.raises(ResourceError, match="no GPU 7"):
        list(replace(elsewhere, initializer=tasks.refuse).run(tasks.square, range(3), stop=never))
    assert [done.result for done in elsewhere.run(tasks.square, range(1), stop=never)] == [0]


def test_a_killed_workers_step_runs_again_with_the_same_result(elsewhere: Cluster, tmp_path: Path) -> None:
    done = elsewhere.run(partial(tasks.die_once, tmp_path), range(12), stop=never)
    assert sorted((one.result, one.error) for one in done) == SQUARES


def test_a_step_that_kills_every_worker_is_told_and_takes_no_sibling_with_it(elsewhere: Cluster) -> None:
    done = list(elsewhere.run(tasks.die_at_three, range(12), stop=never))
    assert sorted((one.result, one.error) for one in done if one.error is None) == [
        pair for pair in SQUARES if pair != (9, None)
    ]
    assert [(one.step, one.result) for one in done if one.error and "workers died" in one.error] == [
        (3, None)
    ]


def test_other_versions_elsewhere_are_refused(elsewhere: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.versions._version_cached", lambda _package: "9.9.9")
    with pytest.raises(MismatchError, match=f"has buildmap {version('buildmap')}, this machine has 9.9.9"):
        list(elsewhere.run(tasks.square, range(3), stop=never))


def test_a_local_cluster_has_slots_survives_a_kill_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    who = tmp_path / "who"
    for folder in (who, tmp_path / "temp"):
        folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    threads = threading.active_count()
    seen = []
    for done in LOCAL.run(tasks.slot_and_pid, range(40), stop=never):
        assert done.result is not None
        seen.append(done)
        (who / f"{done.result[1]}.pid").touch()
        if len(seen) == 10:
            os.kill(done.result[1], signal.SIGKILL)
    assert sorted(done.step for done in seen) == list(range(40))
    assert {done.result[0] for done in seen} == {"0", "1"}
    assert tasks.gone(who)
    assert set(tmp_path.rglob("*")) == {who, tmp_path / "temp", *who.iterdir()}
    assert threading.active_count() <= threads + 3  # dask's own, kept for the next cluster
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with pytest.raises(ResourceError, match=r"tcp://127\.0\.0\.1:1\b") as error:
        list(Cluster(address="tcp://127.0.0.1:1", workers=0, patience_s=0.2).run(int, range(3), stop=never))
    assert error.value.hint is not None
    assert "run again" in error.value.hint


def test_a_lost_scheduler_ends_the_run_and_tells_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    file = tmp_path / "scheduler.json"
    scheduler = _start(
        [*command, "--dashboard-address", "127.0.0.1:0", "--no-dashboard", "--scheduler-file", str(file)],
        tmp_path,
    )
    wait_for(lambda: file.exists() and file.stat().st_size > 0)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny"]
    worker = _start(
        [*command, "--no-dashboard", "--death-timeout", "5", "--scheduler-file", str(file)], tmp_path
    )
    try:
        time.sleep(0.1)
        address = file.read_text().split('"address": "')[1].split('"')[0]
        run = Cluster(address=address, workers=0, patience_s=20).run(
            partial(tasks.linger, tmp_path), range(1000), stop=never
        )
        assert next(run).result == 0
        scheduler.kill()
        with pytest.raises(ResourceError, match=address):
            list(run)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.communicate()


def test_without_dask_the_way_to_install_it_is_told() -> None:
    told = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True)
    assert told.stdout == "pip install 'buildmap[dask]'\n"


def test_local_workers_leave_signals_to_the_driver_and_end_when_it_is_killed(tmp_path: Path) -> None:
    driver = _start([sys.executable, "-m", "tests.unit.execution.drive", "dask", str(tmp_path)], tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    for path in tmp_path.glob("*.pid"):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(int(path.stem), number)
    wait_for(lambda: len(list(tmp_path.glob("*.done"))) >= 6)
    assert len(list(tmp_path.glob("*.pid"))) == 2  # nobody was replaced
    driver.kill()
    wait_for(lambda: tasks.gone(tmp_path))
    _, err = driver.communicate()
    assert b"Traceback" not in err


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
