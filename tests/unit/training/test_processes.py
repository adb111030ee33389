"""Two processes that learn as one, and what happens when one of them fails."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from buildmap.errors import InputError, ResourceError
from buildmap.execution.progress import Progress, Silent
from buildmap.losses.dice import Dice
from buildmap.models.checkpoint import load_checkpoint, read_tensors
from buildmap.preset import Preset, Sampling
from buildmap.training.device import Devices, open_fabric
from buildmap.training.processes import Watch, run_on
from buildmap.training.record import EpochRecord, best_record
from buildmap.training.validation import validate
from tests.unit.training import tasks
from tests.unit.training.fakes import FakeChips

ONE = Devices(kind="cpu", indices=(0,))
TWO = Devices(kind="cpu", indices=(0, 1))
run_on_cpu = partial(run_on, precision="float32", progress=Silent())


class Hears(Silent):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, task: str, total: int) -> None:
        self.told.append((task, total))

    def advance(self, steps: int = 1) -> None:
        self.told.append(steps)

    def note(self, text: str) -> None:
        self.told.append(text)


def test_one_device_needs_no_process_of_its_own() -> None:
    assert run_on_cpu(ONE, partial(process_number, 3)) == (os.getpid(), 3, 1)


def process_number(value: int, *, fabric: Fabric, progress: Progress) -> tuple[int, int, int]:  # noqa: ARG001
    return os.getpid(), value, fabric.world_size


RUNS: dict[str, tuple[str, Preset, dict[str, Any]]] = {
    "plain": ("plain", tasks.preset_with(epochs=3), {}),
    "everything": (
        "plain",
        replace(
            tasks.preset_with(
                optimizer="sgd", momentum=0.9, learning_rate=0.05, accumulate=2, clip_norm=0.5, ema_decay=0.7
            ),
            sampling=Sampling(hard_share=0.5),
        ),
        {"validation": 3},
    ),
    "normalized": ("normalized", tasks.preset_with(epochs=3, ema_decay=0.5), {}),
    "skips": ("plain", tasks.preset_with(epochs=3), {"spoiled": frozenset({2, 6, 7}), "validation": 1}),
}


@dataclass(frozen=True, kw_only=True)
class Both:
    """What two processes have done."""

    folder: Path
    exchanged: dict[str, Any]
    learned: dict[str, tuple[EpochRecord, ...]]
    told: list[Any]
    logged: list[str]


class Keeps(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(record.getMessage())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder, hears, keeps = tmp_path_factory.mktemp("two"), Hears(), Keeps()
    logger = logging.getLogger("buildmap")
    logger.addHandler(keeps)
    try:
        exchanged, learned = run_on(
            TWO, partial(tasks.exchange_and_learn, folder, RUNS), precision="float32", progress=hears
        )
    finally:
        logger.removeHandler(keeps)
    return Both(folder=folder, exchanged=exchanged, learned=learned, told=hears.told, logged=keeps.logged)


def test_processes_exchange_and_are_heard(both: Both) -> None:
    found = dict(both.exchanged)
    assert found.pop("process") != os.getpid()
    assert found.pop("threads") == max(torch.get_num_threads() // 2, 1)
    assert found == {
        "chips": [0, 1, 2, 3, 4, 5],
        "booleans": [True, False, True, True],
        "gradient": [0, 2, 4],
        "sum": [3],
        "agreed": [[1], [1]],
        "objects": [0, 1],
    }
    assert both.told == [("adding", 7), 2, "done"]
    assert both.logged[:1] == ["process 0 is here"]
    assert "process 1 is here" not in both.logged


def test_two_processes_learn_what_one_learns_and_go_on_where_they_stopped(tmp_path: Path, both: Both) -> None:
    one, two, together = tmp_path, both.folder, both.learned
    alone = run_on_cpu(ONE, partial(tasks.learn_in_turn, one, RUNS))
    for name, (network, _, _) in RUNS.items():
        again = together[f"{name}-stopped"]
        assert [essence(record) for record in again] == [essence(record) for record in together[name]]
        files = [two / run / "best.safetensors" for run in (f"{name}.run", f"{name}-stopped.run")]
        assert files[0].read_bytes() == files[1].read_bytes()
        if network == "normalized":  # each process sees its own share, and all judge what is saved
            judged = validate(
                load_checkpoint(files[0])[0], Dice(), FakeChips().validation_batches(), open_fabric("cpu")
            )
            counts = {source: astuple(pixels) for source, pixels in judged.by_source.items()}
            assert counts == best_record(together[name]).counts_by_source
            continue
        for record, other in zip(alone[name], together[name], strict=True):
            assert essence(other) == pytest.approx(essence(record), rel=1e-5, abs=1e-5)
        weights = [read_tensors(path / f"{name}.run" / "best.safetensors")[0] for path in (one, two)]
        for tensor, other in zip(weights[0].values(), weights[1].values(), strict=True):
            torch.testing.assert_close(tensor, other, rtol=1e-4, atol=1e-5)


def essence(record: EpochRecord) -> list[float]:
    values = (record.train_loss, record.validation_loss, record.iou, record.f1)
    return [-1 if value is None else value for value in values] + [
        record.skipped_steps,
        *(pixels for name in sorted(record.counts_by_source) for pixels in record.counts_by_source[name]),
    ]


def test_a_killed_process_ends_all() -> None:
    with pytest.raises(ResourceError, match="cpu:1 was ended by signal 9") as caught:
        run_on_cpu(TWO, tasks.kill_the_second)
    assert caught.value.hint


def test_an_error_in_one_process_ends_all_and_is_what_the_user_sees() -> None:
    with pytest.raises(InputError, match=r"north.tif is torn") as caught:
        run_on_cpu(TWO, tasks.tear_the_second)
    assert caught.value.hint == "mend it"


class Dead:
    """A process that has ended."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def join(self, timeout: float) -> None:
        """It has."""


def watch(said: list[list[tuple[str, object]]], exitcodes: list[int]) -> object:
    """Give what comes of what processes have said before they ended."""
    lines = [Pipe() for _ in said]
    for (_, theirs), words in zip(lines, said, strict=True):
        for kind, content in words:
            theirs.send((kind, content))
        theirs.close()
    dead: Any = [Dead(exitcode) for exitcode in exitcodes]
    return Watch(TWO, dead, [ours for ours, _ in lines], Silent()).result()


def test_the_first_process_s_result_counts() -> None:
    assert watch([[("result", 1)], [("progress", ("advance", (1,))), ("result", 2)]], [0, 0]) == 1


TORN = ("error", InputError("torn"))
LOST = ("traceback", "RuntimeError: connection closed by peer")


@pytest.mark.parametrize(
    ("said", "exitcodes", "error", "message"),
    [
        ([[LOST], [TORN]], [0, 0], InputError, "torn"),
        ([[TORN], [LOST]], [0, 0], InputError, "torn"),
        ([[LOST], []], [0, -9], ResourceError, "cpu:1 was ended by signal 9"),
        ([[], [LOST]], [-15, 0], ResourceError, "cpu:0 was ended by signal 15"),
        ([[LOST], [LOST]], [0, 0], RuntimeError, "closed by peer"),
        ([[("result", 1)], []], [0, 1], RuntimeError, "a process failed"),
    ],
)
def test_of_several_failures_the_one_that_says_most_is_raised(
    said: list[list[tuple[str, object]]], exitcodes: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        watch(said, exitcodes)


LONELY = """
import sys
from functools import partial
from pathlib import Path
from buildmap.execution.progress import Silent
from buildmap.training.processes import run_on
from tests.unit.training import tasks, test_processes
if __name__ == "__main__":
    task = partial(tasks.sleep, Path(sys.argv[1]))
    run_on(test_processes.TWO, task, precision="float32", progress=Silent())
"""


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_no_process_outlives_an_interrupted_run(tmp_path: Path) -> None:
    class Interrupts(Silent):
        def start(self, task: str, total: int) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on(TWO, partial(tasks.sleep, tmp_path), precision="float32", progress=Interrupts())
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    assert eventually(lambda: gone(pids))


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", LONELY, str(tmp_path)], env=environment)
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 2, seconds=120)
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert not gone(pids)
    parent.kill()
    parent.wait()
    assert eventually(lambda: gone(pids))
