"""What a command costs, its children included, and how far tiled prediction is from a whole image's."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

_POLL_S = 0.05
_HALF = 127
"""uint8 value of the threshold 0.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took."""

    wall_s: float
    """From the start of the interpreter to its end."""
    cpu_s: float
    """User and system, of the process and the children it waited for."""
    peak_mb: float
    """Most memory held at one time; pages that processes share count once."""


class CommandFailed(Exception):
    """A command ended with an error, or was killed; the message is the end of what it said."""


def measured(arguments: list[str]) -> Cost:
    """Run Python with these arguments in a process of its own.

    Raises:
        CommandFailed: If it does not end with 0.
    """
    with tempfile.TemporaryFile("w+") as log:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)
        peak_kb = 0
        while True:
            # wait4 and not RUSAGE_CHILDREN, which adds up every child there ever was
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak_kb = max(peak_kb, _held_kb(process.pid))
            time.sleep(_POLL_S)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise CommandFailed(f"ended with {process.returncode}: {log.read()[-400:].strip()}")
    return Cost(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_mb=peak_kb / 1024)


def _held_kb(pid: int) -> int:
    """Give the peak of a process without children; what it and its children hold now, otherwise.

    The peak is asked of `/proc` and not of `wait4`, whose figure starts with the memory of the parent.
    """
    tree = _tree(pid)
    peak = _field_kb(pid, "status", "VmHWM:")
    return peak if len(tree) == 1 else max(peak, sum(_field_kb(one, "smaps_rollup", "Pss:") for one in tree))


def _tree(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:  # ended meanwhile
        return [pid]
    return [pid, *(below for child in children for below in _tree(child))]


def _field_kb(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:  # ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeamError:
    """How tiled prediction differs from prediction of the whole image by the same network."""

    changed_percent: float
    """Share of pixels whose uint8 value is another."""
    flips_per_million: float
    """Pixels that change sides of probability 0.5."""


def seam_error(output: Path, whole: NDArray[np.uint8]) -> SeamError:
    """Compare the upper left of a probability raster with the same pixels of a whole image, (rows, cols)."""
    rows, cols = whole.shape
    with rasterio.open(output) as dataset:
        tiled = dataset.read(1, window=((0, rows), (0, cols)))
    return SeamError(
        changed_percent=100 * float(np.mean(tiled != whole)),
        flips_per_million=1e6 * float(np.mean((tiled >= _HALF) != (whole >= _HALF))),
    )
