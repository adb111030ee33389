"""Devices are named strictly, and no more of the machine is taken than one may."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from buildmap.errors import ResourceError
from buildmap.inference import devices
from buildmap.inference.devices import (
    BackendOptions,
    available_cores,
    choose_lanes,
    growth_bytes,
    lanes_that_fit,
    parse_devices,
    split_device,
    window_bytes,
)
from tests.networks import make_card


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ("auto",)),
        ("cpu", ("cpu",)),
        ("cuda", ("cuda",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda:0,1", ("cuda:0", "cuda:1")),
        ("cuda:0, cuda:2,3", ("cuda:0", "cuda:2", "cuda:3")),
        ("tensorrt:0,1", ("tensorrt:0", "tensorrt:1")),
    ],
)
def test_a_list_of_devices_is_one_device_a_process(text: str, expected: tuple[str, ...]) -> None:
    assert parse_devices(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tpu", "no device 'tpu'"),
        ("", "no device ''"),
        ("0,1", "no device '0'"),
        ("cuda:", "no device 'cuda:'"),
        ("cuda:x", "no device 'cuda:x'"),
        ("cpu:0", "no device 'cpu:0'"),
        ("cuda,1", "no device '1'"),
        ("cuda:0,0", "named twice"),
        ("cuda:0,cpu", "cannot run together"),
    ],
)
def test_other_devices_are_refused_and_the_hint_names_the_right_ones(text: str, told: str) -> None:
    with pytest.raises(ResourceError, match=told) as caught:
        parse_devices(text)
    assert "cuda:0" in str(caught.value.hint)


def test_a_device_without_a_number_is_the_first() -> None:
    assert split_device("cuda") == ("cuda", 0)
    assert split_device("cuda:3") == ("cuda", 3)


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand in for a machine of eight cores; gives the root of its cgroups."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cgroup").write_text("0::/a/b\n")
    (tmp_path / "groups/a/b").mkdir(parents=True)
    monkeypatch.setattr(devices, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(devices, "_CGROUPS", tmp_path / "groups")
    return tmp_path / "groups"


def test_cores_are_those_of_affinity_quota_and_environment(
    eight_cores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert available_cores() == 8
    (eight_cores / "a/b/cpu.max").write_text("max 100000\n")
    assert available_cores() == 8
    (eight_cores / "a/cpu.max").write_text("350000 100000\n")
    assert available_cores() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert available_cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    (eight_cores / "a/b/cpu.max").write_text("50000 100000\n")
    assert available_cores() == 1


def test_two_windows_at_a_time_where_there_are_two_cores() -> None:
    assert [choose_lanes(cores, BackendOptions()) for cores in (1, 2, 16)] == [1, 2, 2]
    assert choose_lanes(1, BackendOptions(lanes=5)) == 5


def test_lanes_give_way_to_memory_and_one_that_does_not_fit_is_refused() -> None:
    assert lanes_that_fit(3, 10**9, BackendOptions()) == 3
    assert lanes_that_fit(3, 10**9, BackendOptions(max_memory_bytes=2 * 10**9)) == 2
    with pytest.raises(ResourceError, match=r"needs 1000 MB for one window, 999 MB are left"):
        lanes_that_fit(3, 10**9, BackendOptions(max_memory_bytes=999 * 10**6))


def test_growth_is_what_an_action_takes_at_its_peak_and_not_what_it_keeps() -> None:
    def take() -> None:
        np.ones(50_000_000, np.uint8).sum()

    assert growth_bytes(take) == pytest.approx(50_000_000, rel=0.1)
    assert growth_bytes(lambda: None) < 5_000_000


def test_a_windows_memory_is_foretold_from_a_smaller_one() -> None:
    def run(side: int) -> None:
        np.ones((40, side, side), np.uint8).sum()

    needed = 40 * 1536**2
    assert needed < window_bytes(run, make_card(window_px=1536)) < 1.5 * needed


def test_where_the_system_does_not_say_growth_is_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_PROC", tmp_path / "none")
    assert growth_bytes(lambda: None) == 0


def test_options_travel_to_other_processes_and_are_shared_among_models() -> None:
    options = BackendOptions(max_memory_bytes=1001, max_vram_bytes=2000, threads=4)
    assert pickle.loads(pickle.dumps(options)) == options
    assert options.share(2) == BackendOptions(max_memory_bytes=500, max_vram_bytes=1000, threads=4)
    assert BackendOptions().share(3) == BackendOptions()
    with pytest.raises(ValueError, match="threads 0 is not positive"):
        BackendOptions(threads=0)
