"""Outputs appear whole or not at all, whatever stops the run."""

import contextlib
import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from buildmap.errors import LockedError, OutputError, StorageError
from buildmap.publish import check_distinct, check_output, staged, streamed, write_failure

HALF_WAY = """
import sys
from pathlib import Path
from buildmap.publish import staged
with staged(Path(sys.argv[1]), overwrite=True, resume=len(sys.argv) > 2) as folder:
    (folder / Path(sys.argv[1]).name).write_text("half")
    (folder / "spool").write_text("finished strips")
    print("half way", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def _half_way(output: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run another process that stands in the middle of writing `output`."""
    command = [sys.executable, "-c", HALF_WAY, str(output), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        try:
            yield process
        finally:
            process.kill()


def _publish(output: Path, text: str, *, overwrite: bool = False) -> None:
    with staged(output, overwrite=overwrite) as folder:
        (folder / output.name).write_text(text)


def test_a_finished_output_is_all_that_is_left(tmp_path: Path) -> None:
    output = tmp_path / "ü 建物!.gpkg"
    _publish(output, "whole")
    assert output.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [output]


def test_the_old_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("old")
    with staged(output, overwrite=True) as folder:
        (folder / output.name).write_text("new")
        assert output.read_text() == "old"
    assert output.read_text() == "new"


def test_an_existing_output_is_refused_with_the_flag_that_replaces_it(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("old")
    with pytest.raises(OutputError, match=r"out\.tif exists already") as caught:
        _publish(output, "new")
    assert caught.value.hint == "pass --overwrite to replace it"
    assert caught.value.exit_code == 73
    assert output.read_text() == "old"


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist") as caught:
        _publish(tmp_path / "no" / "out.tif", "new")
    assert caught.value.hint == f"mkdir -p '{tmp_path / 'no'}'"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_or_a_device_is_no_output(tmp_path: Path, overwrite: bool) -> None:
    for output in (tmp_path, Path(os.devnull)):
        with pytest.raises(OutputError, match="is not a regular file"):
            check_output(output, overwrite=overwrite)


def test_a_dangling_link_counts_as_an_existing_output(tmp_path: Path) -> None:
    link = tmp_path / "out.tif"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError, match="exists already"):
        check_output(link, overwrite=False)


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "out.tif", overwrite=False)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_not_written_over_also_where_a_link_hides_it(tmp_path: Path, link: object) -> None:
    source, output, other = tmp_path / "in.tif", tmp_path / "out.tif", tmp_path / "other.tif"
    source.touch()
    other.touch()
    assert callable(link)
    link(source, output)
    with pytest.raises(OutputError, match=r"out\.tif is the input .*in\.tif"):
        check_distinct(output, other, source)
    check_distinct(output, other, tmp_path / "gone.tif")


def test_a_second_run_on_the_same_output_is_told_who_holds_it(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with _half_way(output) as first:
        with pytest.raises(LockedError, match=rf"pid {first.pid} on .* since 2") as caught:
            _publish(output, "second")
        assert caught.value.exit_code == 75
        assert not output.exists()
        first.communicate("", timeout=10)
    assert (first.returncode, output.read_text()) == (0, "half")
    _publish(output, "third", overwrite=True)
    assert output.read_text() == "third"
    assert list(tmp_path.iterdir()) == [output]


def test_a_run_on_another_output_is_not_in_the_way(tmp_path: Path) -> None:
    with _half_way(tmp_path / "a.tif"):
        _publish(tmp_path / "b.tif", "b")
    assert (tmp_path / "b.tif").read_text() == "b"


def test_a_killed_run_leaves_the_old_output_and_the_next_one_completes(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("old")
    with _half_way(output) as process:
        process.kill()
        process.wait()
    assert output.read_text() == "old"
    with staged(output, overwrite=True) as folder:
        assert list(folder.iterdir()) == []
        (folder / output.name).write_text("new")
    assert output.read_text() == "new"
    assert list(tmp_path.iterdir()) == [output]


def test_a_run_that_resumes_finds_what_the_killed_one_had_finished(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with _half_way(output, "resume") as process:
        process.kill()
        process.wait()
    with staged(output, overwrite=False, resume=True) as folder:
        assert (folder / "spool").read_text() == "finished strips"
        (folder / output.name).write_text("whole")
    assert output.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("resume", [False, True])
def test_a_failed_run_keeps_its_work_only_to_resume(tmp_path: Path, resume: bool) -> None:
    output = tmp_path / "out.tif"
    output.write_text("old")
    folder = tmp_path / ".out.tif.buildmap"
    with pytest.raises(IsADirectoryError), staged(output, overwrite=True, resume=resume):
        folder.write_text("not a folder")
    assert output.read_text() == "old"
    assert folder.exists() is resume
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"out.tif"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_with_what_is_free_and_the_old_output_stays(tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("old")
    with (
        pytest.raises(
            StorageError, match=r"^disk full: .*\(No space left on device: .*out\.tif\)$"
        ) as caught,
        staged(output, overwrite=True),
        Path("/dev/full").open("w") as full,
    ):
        full.write("new")
    assert caught.value.exit_code == 74
    assert f"MB free on {tmp_path} (" in str(caught.value)
    assert caught.value.hint == "make room, and run the same command again"
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(("code", "kind"), [(errno.EIO, StorageError), (errno.EACCES, PermissionError)])
def test_only_errors_of_the_disk_become_storage_errors(
    tmp_path: Path, code: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind), staged(tmp_path / "out.tif", overwrite=False):
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [243, 250])
def test_a_name_too_long_for_what_lies_beside_it_is_refused_at_once(tmp_path: Path, length: int) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot create files in .*: File name too long"),
        staged(tmp_path / ("x" * length), overwrite=False),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_for_the_lock_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(StorageError, match="No space left"), staged(tmp_path / "a", overwrite=False):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_stream_gets_the_whole_file_and_nothing_stays_behind() -> None:
    stream, content = io.BytesIO(), bytes(range(256)) * 9000
    with streamed(stream, "a.fgb") as folder:
        (folder / "spool").write_text("x")
        (folder / "a.fgb").write_bytes(content)
        assert stream.getvalue() == b""
    assert stream.getvalue() == content
    assert not folder.exists()


def test_a_stream_that_takes_a_part_at_a_time_gets_all() -> None:
    class Unbuffered(io.BytesIO):
        def write(self, content: memoryview) -> int:  # type: ignore[override]
            return super().write(content[:1000])

    stream, content = Unbuffered(), bytes(range(256)) * 9000
    with streamed(stream, "a.fgb") as folder:
        (folder / "a.fgb").write_bytes(content)
    assert stream.getvalue() == content


def test_a_stream_gets_nothing_of_a_run_that_fails() -> None:
    stream = io.BytesIO()

    def run() -> Path:
        with streamed(stream, "a.fgb") as folder:
            (folder / "a.fgb").write_bytes(b"half")
            seen.append(folder)
            raise RuntimeError("power cut")

    seen: list[Path] = []
    with pytest.raises(RuntimeError, match="power cut"):
        run()
    assert stream.getvalue() == b""
    assert not seen[0].exists()


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageError), (errno.EPIPE, BrokenPipeError)])
def test_a_full_disk_behind_a_stream_is_told_from_a_reader_that_left(number: int, kind: type) -> None:
    class Broken(io.BytesIO):
        def write(self, _content: object) -> int:
            raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=os.strerror(number)), streamed(Broken(), "a.fgb") as folder:
        (folder / "a.fgb").write_bytes(b"x")


@pytest.mark.parametrize("by_a_library", [True, False])
def test_a_full_disk_is_told_with_what_is_needed(tmp_path: Path, by_a_library: bool) -> None:
    def fail(folder: Path) -> None:
        (folder / "some").touch()
        if by_a_library:
            raise write_failure(folder / "strips.tmp", "No space left on device\nwriting")
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(folder))

    def needed() -> int:
        assert (tmp_path / ".a.buildmap" / "some").exists()  # it goes by what was done
        return 1_500_000_000

    match = f"^disk full: .* MB free on {tmp_path}, needs about 1,500 MB more "
    with (
        pytest.raises(StorageError, match=match) as caught,
        staged(tmp_path / "a", overwrite=False, needs=needed) as folder,
    ):
        fail(folder)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_need_of_one_output_is_not_told_of_another(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with (
        pytest.raises(StorageError) as caught,
        staged(tmp_path / "a.tif", overwrite=False, needs=lambda: 1_500),
        staged(other / "b.tif", overwrite=False),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert f" free on {other} (" in str(caught.value)


def test_a_failure_names_the_file_the_reason_and_the_space_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = write_failure(tmp_path / "out.fgb", "it rained\nall day")
    assert str(error) == f"cannot write {tmp_path / 'out.fgb'}: it rained all day"
    assert error.exit_code == 74
    amount, unit, told = str(error.hint).split(" ", 2)
    assert (unit, told) == ("MB", f"are free on {tmp_path}")
    assert abs(float(amount.replace(",", "")) - shutil.disk_usage(tmp_path).free / 1e6) < 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    error = write_failure(tmp_path / "out.fgb", "it rained")
    assert str(error) == f"disk full: 300 kB free on {tmp_path} (it rained: {tmp_path / 'out.fgb'})"
    assert len(str(write_failure(tmp_path / "out.fgb", "INSERT INTO " * 100))) < 300
