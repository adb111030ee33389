"""Outputs appear whole or not at all: written aside, synced, renamed; one run per output."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from buildmap.errors import LockedError, OutputError, StorageError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
_STREAMED_BYTES = 2**20


@contextmanager
def staged(output: Path, *, overwrite: bool, resume: bool = False, wait_s: float = 0) -> Iterator[Path]:
    """Lend a private folder beside `output`; publish `folder / output.name` when the block ends well.

    The folder is `.NAME.buildmap` next to the output, so the final rename never crosses a file
    system. What a killed run left in it is dropped, or kept with `resume` for a verb that goes on
    from there. An old output stays untouched until the new one is complete and on disk.

    Args:
        output: The file to be.
        overwrite: Replace an old output.
        resume: Keep the folder of an unfinished run, for the next.
        wait_s: Seconds to wait for another run to end; the old output is looked for after that.

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
            yield folder
            _publish(folder / output.name, output)
            done = True
        finally:
            if done or not resume:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared(output: Path, *, overwrite: bool, claim: str, wait_s: float = 0) -> Iterator[Path]:
    """Lend the folder of `staged` to one of several runs that fill it together; nothing is published.

    Args:
        output: The file to be.
        overwrite: An old output is no obstacle.
        claim: What of the work this run does; two runs with the same claim exclude each other.
        wait_s: Seconds to wait for such a run to end.

    Raises:
        OutputError: If the output exists and `overwrite` is False, or cannot be created there.
        LockedError: If another run has the same claim.
        StorageError: If the disk is full or fails.
    """
    check_output(output, overwrite=overwrite)
    folder = workspace(output)
    with _disk_errors(output), _locked(output, f".{claim}.lock", wait_s):
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
                shutil.copyfileobj(file, stream, _STREAMED_BYTES)
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
def _disk_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        free_mb = shutil.disk_usage(output.parent).free // 2**20
        raise StorageError(
            f"cannot write {output}: {error.strerror}", hint=f"{free_mb} MB are free in {output.parent}"
        ) from error


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
