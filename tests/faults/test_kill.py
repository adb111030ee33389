"""kill -9 at any moment: the output is the old one or the new one; the next run ends with the same bytes.

`BUILDMAP_KILLS=100 pytest -n 0 tests/faults/test_kill.py` kills every verb a hundred times.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from buildmap.publish import workspace
from tests.faults.injection import VERBS, command, content, output_of, run, run_with, write_scene

KILLS = int(os.environ.get("BUILDMAP_KILLS", "1"))
"""For each verb."""
OLD = b"the old output"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_scene(tmp_path)


def finish(arguments: list[str]) -> object:
    """Run to the end, in this process; give what the output says."""
    code, _, err = run(*arguments, "-q")
    assert code == 0, err
    return content(output_of(arguments))


def kill_within(output: Path, arguments: list[str], delay_s: float) -> None:
    """Kill a run so long after it has begun its work; one that has ended by then is let go."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    holder, own = output.with_name(f".{output.name}.lock.holder"), f"pid {process.pid} "
    while process.poll() is None and not (holder.exists() and holder.read_text().startswith(own)):
        time.sleep(0.002)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("verb", VERBS)
def test_kills_at_random_moments_change_no_byte(verb: str) -> None:
    if verb == "train" and KILLS == 1:
        pytest.skip("integration/test_train.py kills a training; BUILDMAP_KILLS=2 and more does so here, too")
    arguments = [*VERBS[verb], "--overwrite"]
    output = output_of(arguments)
    began = time.monotonic()
    expected = finish(arguments)
    work_s = time.monotonic() - began
    rng, killed = random.Random(0), 0
    while killed < KILLS:
        output.write_bytes(OLD)
        kill_within(output, arguments, rng.uniform(0, work_s))
        if output.read_bytes() == OLD:
            killed += 1
        else:  # it was faster than thought
            assert content(output) == expected
            work_s *= 0.7
    assert finish(arguments) == expected
    assert not list(output.parent.glob(f".{output.name}*"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("verb", "file", "write"),
    [
        ("predict", "strips/000001.tmp", 2),
        ("predict", "o.tif", 5),
        ("vectorize", "part.gpkg", 20),
    ],
    ids=["part", "raster", "layer"],
)
def test_a_kill_in_the_middle_of_a_file_leaves_the_old_output(verb: str, file: str, write: int) -> None:
    arguments = [*VERBS[verb], "--overwrite"]
    output = output_of(arguments).resolve()
    expected = finish(arguments)
    output.write_bytes(OLD)
    at = workspace(output) / file
    code, _ = run_with(f"signal=KILL:when={write}", at, arguments)
    assert code in {-9, 137}
    assert at.exists()
    assert output.read_bytes() == OLD
    assert finish(arguments) == expected
    assert not list(output.parent.glob(f".{output.name}*"))
