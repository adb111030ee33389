"""The machine and what this process is given of it: cores, memory, a temporary folder, words."""

import locale
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from buildmap import __version__
from buildmap.checks.fact import Fact, failed, ok, warning
from buildmap.inference.devices import available_cores
from buildmap.schema import did_you_mean

PREFIX = "BUILDMAP_"
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_NEEDED_BYTES = 1_500_000_000
"""What `predict` takes with the built-in model on a country."""
_LITTLE_DISK_BYTES = 1_000_000_000


def program() -> Fact:
    """Name the version, and where it is installed."""
    return ok("buildmap", f"{__version__}, {Path(__file__).parents[1]}")


def python() -> Fact:
    """Name the interpreter."""
    return ok("Python", f"{platform.python_version()}, {sys.executable}")


def system() -> Fact:
    """Name the operating system and the processor."""
    return ok("platform", platform.platform())


def cores() -> Fact:
    """Count the cores this process may use."""
    usable, there = available_cores(), os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS")
    limited = "affinity or container" if asked is None else f"OMP_NUM_THREADS={asked}, affinity or container"
    return ok("cores", str(usable) if usable == there else f"{usable} of {there}: limited by {limited}")


def memory() -> Fact:
    """Tell the memory this process may use, and how much of it is free."""
    total, free = _machine_bytes()
    limit, used = _limit_bytes()
    if limit is not None and limit < total:
        free = min(free, limit - used)
        detail = f"{_giga(limit)}, the container's limit, {_giga(free)} free"
    else:
        detail = f"{_giga(total)}, {_giga(free)} free"
    if free < _NEEDED_BYTES:
        return warning(
            "memory",
            detail,
            f"predict takes {_giga(_NEEDED_BYTES)} on large rasters; --max-memory takes less",
        )
    return ok("memory", detail)


def temporary_folder() -> Fact:
    """Write into the folder for temporary files, and tell how much room is left there."""
    name, asked = "temporary folder", os.environ.get("TMPDIR")
    try:
        with tempfile.NamedTemporaryFile(prefix="buildmap-") as file:
            file.write(b"\0" * 65536)
            file.flush()
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return failed(name, f"cannot be written: {error.strerror or error}", "set TMPDIR to one that can")
    detail = f"{folder}, {_giga(free)} free"
    if asked and Path(asked).resolve() != Path(folder).resolve():
        return warning(name, f"{detail}; TMPDIR={asked} cannot be written", "mend or unset TMPDIR")
    if free < _LITTLE_DISK_BYTES:
        return warning(name, detail, "set TMPDIR to a folder with more room")
    return ok(name, detail)


def encoding() -> Fact:
    """Tell whether any letter can stand in a file's name."""
    names = sys.getfilesystemencoding()
    stated = next(
        (f"{key}={os.environ[key]}" for key in ("LC_ALL", "LC_CTYPE", "LANG") if key in os.environ), ""
    )
    detail = f"{names} for file names, {locale.getencoding()} for text{stated and f', {stated}'}"
    if names.lower().replace("-", "") != "utf8":
        return warning("encoding", detail, "LC_ALL=C.UTF-8, or names such as 'Zürich.tif' cannot be opened")
    return ok("encoding", detail)


def variables(known: Collection[str]) -> Fact:
    """Name the variables that are set for buildmap; one that no option reads is likely misspelt.

    Args:
        known: All that are read.
    """
    stated = sorted(name for name in os.environ if name.startswith(PREFIX))
    strange = [name for name in stated if name not in known]
    if strange:
        guesses = [f"{name}: {did_you_mean(name, sorted(known)) or 'leave it out'}" for name in strange]
        return warning("variables", f"no command reads {', '.join(strange)}", "; ".join(guesses))
    return ok("variables", ", ".join(stated) or f"no {PREFIX}... set")


def _machine_bytes() -> tuple[int, int]:
    """Give the machine's memory, and what is free of it."""
    try:
        lines = (_PROC / "meminfo").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # not Linux
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    amounts = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return amounts["MemTotal"], amounts["MemAvailable"]


def _limit_bytes() -> tuple[int | None, int]:
    """Give limit and use of memory of that control group (v2) around this process that has least left."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None, 0
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
    limits = []
    for folder in (_CGROUPS / group, *(_CGROUPS / group).parents):
        try:
            limit = (folder / "memory.max").read_text(encoding="ascii").strip()
            used = int((folder / "memory.current").read_text(encoding="ascii"))
            stat = (folder / "memory.stat").read_text(encoding="ascii")
        except OSError:  # the outermost group has no limit
            continue
        if limit != "max":
            given_back = re.search(r"^inactive_file (\d+)$", stat, re.M)  # copies of files, dropped on demand
            limits.append((int(limit), used - int(given_back[1] if given_back else 0)))
    return min(limits, key=lambda group: group[0] - group[1], default=(None, 0))


def _giga(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB"
