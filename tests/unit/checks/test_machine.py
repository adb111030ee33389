"""What is told of the machine is what the system says, and what would trip a user is a warning."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from buildmap import __version__
from buildmap.checks import machine

MEMINFO = "MemTotal:       16000000 kB\nMemFree:          100 kB\nMemAvailable:    8000000 kB\n"


def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: dict[str, tuple[str, str]]) -> None:
    """Put a /proc and control groups in place: group to limit and use, 200 MB of it for files."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text("0::/jobs/one\n")
    for group, (limit, used) in groups.items():
        (cgroups / group).mkdir(parents=True, exist_ok=True)
        (cgroups / group / "memory.max").write_text(limit + "\n")
        (cgroups / group / "memory.current").write_text(used + "\n")
        (cgroups / group / "memory.stat").write_text("anon 5\ninactive_file 200000000\nactive_file 7\n")
    monkeypatch.setattr(machine, "_PROC", proc)
    monkeypatch.setattr(machine, "_CGROUPS", cgroups)


def test_program_and_interpreter_are_named_with_their_places() -> None:
    assert machine.program().detail == f"{__version__}, {Path('buildmap').resolve()}"
    assert machine.python().detail == f"{sys.version.split()[0]}, {sys.executable}"
    assert sys.platform in machine.system().detail.lower()


def test_fewer_cores_than_there_are_come_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = machine.cores()
    assert (told.status, told.detail[:7]) == ("ok", "1 of 64")
    assert "OMP_NUM_THREADS=1" in told.detail
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert machine.cores().detail == "1"


def test_memory_is_the_machine_s_where_no_group_limits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _machine(tmp_path, monkeypatch, {"jobs/one": ("max", "5")})
    told = machine.memory()
    assert (told.status, told.detail) == ("ok", "16.4 GB, 8.2 GB free")


def test_memory_is_that_of_the_tightest_group_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(tmp_path, monkeypatch, {"jobs/one": ("max", "5"), "jobs": ("4000000000", "1200000000")})
    told = machine.memory()
    assert (told.status, told.detail) == ("ok", "4.0 GB, the container's limit, 3.0 GB free")


def test_too_little_memory_is_a_warning_that_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _machine(tmp_path, monkeypatch, {"jobs/one": ("2000000000", "700000001")})
    told = machine.memory()
    assert told.status == "warning"
    assert told.hint is not None and "--max-memory" in told.hint


def test_a_limit_above_the_machine_limits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(tmp_path, monkeypatch, {"jobs/one": ("99000000000000", "1")})
    assert machine.memory().detail == "16.4 GB, 8.2 GB free"


def test_the_temporary_folder_is_written_and_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = machine.temporary_folder()
    assert (told.status, told.detail.partition(",")[0]) == ("ok", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_used_is_a_warning_with_the_one_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    told = machine.temporary_folder()
    assert told.status == "warning"
    assert f"TMPDIR={tmp_path / 'gone'} cannot be written" in told.detail
    assert told.detail.startswith(tempfile.gettempdir())


def test_an_empty_name_of_a_temporary_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "")
    assert "TMPDIR" not in machine.temporary_folder().detail


def test_of_two_limits_that_with_less_left_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"jobs/one": ("3000000000", "300000000"), "jobs": ("4000000000", "3700000000")}
    _machine(tmp_path, monkeypatch, groups)
    assert machine.memory().detail == "4.0 GB, the container's limit, 0.5 GB free"


def test_no_temporary_folder_at_all_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    told = machine.temporary_folder()
    assert (told.status, told.detail) == ("failed", "cannot be written: No such file or directory")


def test_a_full_disk_under_the_temporary_folder_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage())
    assert machine.temporary_folder().status == "warning"


class _Usage:
    free = 999_999_999


def test_an_encoding_without_foreign_letters_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    for name, status in [("utf-8", "ok"), ("UTF8", "ok"), ("ascii", "warning"), ("iso8859-1", "warning")]:
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda name=name: name)
        told = machine.encoding()
        assert (told.status, told.detail.partition(" ")[0]) == (status, name)
        assert told.detail.endswith("LC_ALL=C")


def test_a_misspelt_variable_is_a_warning_that_says_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"BUILDMAP_THRESHOLD", "BUILDMAP_WAIT"}
    assert machine.variables(known).status == "ok"
    monkeypatch.setenv("BUILDMAP_WAIT", "secret")
    assert machine.variables(known).detail == "BUILDMAP_WAIT"
    monkeypatch.setenv("BUILDMAP_TRESHOLD", "0.5")
    told = machine.variables(known)
    assert (told.status, told.detail) == ("warning", "no command reads BUILDMAP_TRESHOLD")
    assert told.hint == "BUILDMAP_TRESHOLD: did you mean 'BUILDMAP_THRESHOLD'?"
