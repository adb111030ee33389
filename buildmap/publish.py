"""Outputs appear whole or not at all: written aside, synced, renamed; one run per output."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

from filelock import FileLock, Timeout

from buildmap.errors import LockedError, OutputError, StorageError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_WORDS = ("No space left", "quota exceeded", "disk is full")
"""What GDAL and SQLite say, who have no numbers."""
_FULL_BYTES = 2**20
"""With less than that free, a failure needs no other reason."""
_REASON_WIDTH = 100
_STREAMED_BYTES = 2**20


class DiskFull(StorageError):
    """The disk is full; `staged` adds how much more the run needs, where that is known."""

    def __init__(self, path: Path, reason: str, *, free_bytes: int, needs_bytes: int | None = None) -> None:
        """Say so.

        Args:
            path: What could not be written, or anything beside it.
            reason: What the system says.
            free_bytes: On its disk.
            needs_bytes: What the rest of the run takes there, about; None where nobody knows.
        """
        free = f"{_told(free_bytes)} free on {path.parent.absolute()}"
        needs = "" if needs_bytes is None else f", needs about {_told(needs_bytes)} more"
        super().__init__(
            f"disk full: {free}{needs} ({shorten(reason, _REASON_WIDTH)}: {path})",
            hint="make room, and run the same command again",
        )
        self.path, self.reason, self.free_bytes = path, reason, free_bytes


def write_failure(path: Path, reason: str, *, is_full: bool = False) -> StorageError:
    """Say that a file could not be written: that the disk is full where it is, and how much is free.

    Args:
        path: The file.
        reason: What the system, or a library, says of it.
        is_full: The system says that the disk is; else the reason is looked at, and what is free.
    """
    free = shutil.disk_usage(path.parent).free
    told = " ".join(reason.split())
    if is_full or free < _FULL_BYTES or any(word in told for word in _FULL_WORDS):
        return DiskFull(path, told, free_bytes=free)
    return StorageError(
        f"cannot write {path}: {told}", hint=f"{_told(free)} are free on {path.parent.absolute()}"
    )


def _told(size_bytes: int) -> str:
    return f"{size_bytes / 1e3:.0f} kB" if size_bytes < 999_500 else f"{size_bytes / 1e6:,.0f} MB"


@contextmanager
def staged(
    output: Path,
    *,
    overwrite: bool,
    resume: bool = False,
    wait_s: float = 0,
    needs: Callable[[], int | None] = lambda: None,
) -> Iterator[Path]:
    """Lend a private folder beside `output`; publish `folder / output.name` when the block ends well.

    The folder is `.NAME.buildmap` next to the output, so the final rename never crosses a file
    system. What a killed run left in it is dropped, or kept with `resume` for a verb that goes on
    from there. An old output stays untouched until the new one is complete and on disk.

    Args:
        output: The file to be.
        overwrite: Replace an old output.
        resume: Keep the folder of an unfinished run, for the next.
        wait_s: Seconds to wait for another run to end; the old output is looked for after that.
        needs: Tells how many bytes the rest of the run takes, about; asked when the disk is full.

    Raises:
        OutputError: If the output exists and `overwrite` is False, or cannot be created there.
        LockedError: If another run is writing the same output.
        StorageError: If the disk is full or fails.
    """
    check_output(output, overwrite=overwrite or wait_s > 0)
    folder = workspace(output)
    with _disk_errors(output), _locked(output, ".lock", wait_s):
        check_output(output, overwrite=overwrite)
        done = False
        try:
            if folder.exists() and not resume:
                shutil.rmtree(folder)
            folder.mkdir(exist_ok=True)
            with _disk_errors(output, needs):  # before what is there goes
                yield folder
            _publish(folder / output.name, output)
            done = True
        finally:
            if done or not resume:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared(
    output: Path,
    *,
    overwrite: bool,
    claim: str,
    wait_s: float = 0,
    needs: Callable[[], int | None] = lambda: None,
) -> Iterator[Path]:
    """Lend the folder of `staged` to one of several runs that fill it together; nothing is published.

    Args:
        output: The file to be.
        overwrite: An old output is no obstacle.
        claim: What of the work this run does; two runs with the same claim exclude each other.
        wait_s: Seconds to wait for such a run to end.
        needs: As in `staged`.

    Raises:
        OutputError: If the output exists and `overwrite` is False, or cannot be created there.
        LockedError: If another run has the same claim.
        StorageError: If the disk is full or fails.
    """
    check_output(output, overwrite=overwrite)
    folder = workspace(output)
    with _disk_errors(output, needs), _locked(output, f".{claim}.lock", wait_s):
        folder.mkdir(exist_ok=True)
        yield folder


@contextmanager
def streamed(stream: BinaryIO, name: str) -> Iterator[Path]:
    """Lend a private folder; send `folder / name` down a stream when the block ends well.

    A run that fails sends nothing. The folder is among the temporary files, which `TMPDIR` places.

    Args:
        stream: Such as the buffer of standard output.
        name: Of the file that the block makes.

    Raises:
        StorageError: If a disk is full or fails, also that behind the stream.
        BrokenPipeError: If nobody reads the stream any more.
    """
    with tempfile.TemporaryDirectory(prefix="buildmap-") as private:
        folder = Path(private)
        with _disk_errors(folder / name):
            yield folder
        try:
            with (folder / name).open("rb") as file:
                while rest := memoryview(file.read(_STREAMED_BYTES)):
                    while rest:  # with PYTHONUNBUFFERED, standard output may take a part only
                        rest = rest[stream.write(rest) :]
            stream.flush()
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            raise StorageError(f"cannot write to the stream: {error.strerror}") from error


def workspace(output: Path) -> Path:
    """Name the private folder in which an output is made."""
    return output.with_name(f".{output.name}.buildmap")


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot become a new file, before any work is done.

    Raises:
        OutputError: If it exists and `overwrite` is False, is no regular file, or its folder is missing
            or read-only.
    """
    if not output.parent.is_dir():
        raise OutputError(f"folder {output.parent} does not exist", hint=f"mkdir -p '{output.parent}'")
    if output.exists() and not output.is_file():
        raise OutputError(f"{output} is not a regular file")
    if (output.exists() or output.is_symlink()) and not overwrite:
        raise OutputError(f"{output} exists already", hint="pass --overwrite to replace it")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"folder {output.parent} is not writable")


def check_distinct(output: Path, *inputs: Path) -> None:
    """Refuse to write over an input, also where a link hides it.

    Raises:
        OutputError: If `output` and an input are the same file.
    """
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputError(f"output {output} is the input {path}", hint="choose another output")


@contextmanager
def _disk_errors(output: Path, needs: Callable[[], int | None] = lambda: None) -> Iterator[None]:
    try:
        yield
    except DiskFull as error:
        if not error.path.is_relative_to(workspace(output)):  # another output of the same run
            raise
        raise DiskFull(output, error.reason, free_bytes=error.free_bytes, needs_bytes=needs()) from error
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        failure = write_failure(output, str(error.strerror), is_full=error.errno in _FULL)
        if isinstance(failure, DiskFull):
            failure = DiskFull(output, failure.reason, free_bytes=failure.free_bytes, needs_bytes=needs())
        raise failure from error


@contextmanager
def _locked(output: Path, suffix: str, wait_s: float) -> Iterator[None]:
    path, holder = (output.with_name(f".{output.name}{suffix}{end}") for end in ("", ".holder"))
    lock = FileLock(path, timeout=wait_s)
    try:
        holder.exists()  # the longest of the names: too long for the file system is said before any is made
        lock.acquire()
    except Timeout as error:
        if not path.exists():
            raise OutputError(f"cannot create files in {output.parent}") from error
        who = (holder.read_text(encoding="utf-8", errors="replace") if holder.exists() else "") or "unknown"
        raise LockedError(
            f"another run ({who}) holds {output}", hint="try again when it has ended, or pass --wait SECONDS"
        ) from error
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise
        raise OutputError(f"cannot create files in {output.parent}: {error.strerror}") from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"pid {os.getpid()} on {socket.gethostname()} since {since}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        path.unlink(missing_ok=True)  # filelock retries when it finds the file unlinked
        lock.release()


def _publish(whole: Path, output: Path) -> None:
    """Sync a finished file and its folder, then rename it over the output."""
    sync(whole)
    whole.replace(output)
    sync(output.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
