"""What is installed beside us: compiled loops, GPUs, torch, and the extras."""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from buildmap.checks.fact import Fact, failed, ok, warning

_FOR_DEVELOPERS = frozenset({"dev", "test"})
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([\w,.-]+)\])?(?:.*;.*extra == ['\"]([\w.-]+)['\"])?")
"""Package, its own extras, and the extra that wants it."""
_GPU_QUERY = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_PATIENCE_S = 120
_LOOK_THROUGH_TORCH = """
import json, torch, torchvision
cuda = torch.cuda
found = [cuda.get_device_properties(i) for i in range(cuda.device_count())] if cuda.is_available() else []
if found:
    torch.ones(8, device="cuda").sum().item()
print(json.dumps([f"{each.name}, {each.total_memory / 1e9:.1f} GB" for each in found]))
"""


def numba() -> Fact:
    """Compile a function, and tell where compiled code is kept from one run to the next."""
    import numba as library

    from buildmap.compiled import compiled

    function = compiled(_successor)
    if function(41) != 42:
        return failed("numba", f"{library.__version__} compiles 41 + 1 to {function(41)}", "reinstall numba")
    folder, threads = function.stats.cache_path, library.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    detail = f"{library.__version__}, {threads} threads"
    if folder is None:
        hint = "set NUMBA_CACHE_DIR to a folder that can be written, or every run compiles anew"
        return warning("numba", f"{detail}; compiled code is not kept", hint)
    return ok("numba", f"{detail}, compiled code in {folder}")


def seen_gpus() -> tuple[str, ...] | None:
    """Ask the driver for its GPUs, with their memory; None where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        told = subprocess.run(
            [program, *_GPU_QUERY], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [row.split(", ") for row in told.stdout.splitlines()] if told.returncode == 0 else []
    return tuple(f"{row[0]}, {row[1]} MiB, driver {row[2]}" for row in rows if len(row) == 3)


def gpu(seen: tuple[str, ...] | None) -> Fact:
    """Judge what `seen_gpus` gives."""
    if seen is None:
        return ok("GPU", "none: there is no nvidia-smi")
    if not seen:
        return warning("GPU", "nvidia-smi finds none", "run nvidia-smi to see why; until then, --device cpu")
    return ok("GPU", "; ".join(seen))


def torch(gpus: tuple[str, ...] | None) -> Fact:
    """Tell torch's version and what GPUs it sees; without any it is not imported: that takes seconds.

    Args:
        gpus: As `seen_gpus` gives them.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ok("torch", "not installed: pip install 'buildmap[torch]' adds train, export and .safetensors")
    cuda = _cuda_of_torch()
    detail = f"{version}, {f'built for CUDA {cuda}' if cuda else 'built without CUDA'}"
    if (wanted := _torch_of_torchvision()) not in {None, version.partition("+")[0]}:
        hint = "install both anew, in one command: pip install --upgrade torch torchvision"
        return failed("torch", f"{detail}; torchvision is made for torch {wanted}", hint)
    if not gpus:
        return ok("torch", f"{detail}, no GPU")
    if not cuda:
        return warning("torch", f"{detail}, but there is a GPU", "install a build for CUDA: pytorch.org")
    return _torch_on_gpu(detail)


def packages() -> tuple[Fact, ...]:
    """Tell which packages are installed: those that are always needed, then those of each extra."""
    try:
        lines = metadata.requires("buildmap") or []
    except metadata.PackageNotFoundError:
        return (warning("packages", "buildmap runs from a folder: it is not installed", "pip install ."),)
    wanted: dict[str, list[str]] = {}
    for line in lines:
        if found := _REQUIREMENT.match(line):
            wanted.setdefault(found[3] or "", []).extend(_with_extras(found[1], found[2] or ""))
    needed = wanted.pop("", [])
    extras = sorted(wanted.keys() - _FOR_DEVELOPERS)
    return _needed(needed), *(_extra(name, wanted[name]) for name in extras)


def _with_extras(package: str, extras: str) -> list[str]:
    """Name a package and what its own extras want, as in `dask[distributed]`."""
    lines = (metadata.requires(package) or []) if extras and _version(package) else []
    found = [match for line in lines if (match := _REQUIREMENT.match(line))]
    return [package, *(match[1] for match in found if match[3] in extras.split(","))]


def _needed(packages: list[str]) -> Fact:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        return failed("packages", f"without {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return ok("packages", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _extra(name: str, packages: list[str]) -> Fact:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        return ok(f"extra {name}", f"without {', '.join(missing)}: pip install 'buildmap[{name}]'")
    return ok(f"extra {name}", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cuda_of_torch() -> str | None:
    """Read from its files for which CUDA torch was built: importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b.*= ['\"]([\d.]+)['\"]", text, re.M)
    return None if found is None else found[1]


def _torch_of_torchvision() -> str | None:
    """Name the one version of torch that the installed torchvision works with; None if any does."""
    try:
        lines = metadata.requires("torchvision") or []
    except metadata.PackageNotFoundError:
        return None
    return next(
        (line.removeprefix("torch==") for line in lines if re.fullmatch(r"torch==[\d.]+", line)), None
    )


def _torch_on_gpu(detail: str) -> Fact:
    """Compute on the GPU through torch, in a process of its own: a driver that does not fit may end it."""
    hint = "nvidia-smi tells the newest CUDA that the driver has; install torch for that one: pytorch.org"
    try:
        told = subprocess.run(
            [sys.executable, "-c", _LOOK_THROUGH_TORCH],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return failed("torch", f"{detail}; it did not answer within {_PATIENCE_S} s", hint)
    if told.returncode:
        last = (told.stderr.strip().splitlines() or [f"ended with {told.returncode}"])[-1]
        return failed("torch", f"{detail}; {last}", hint)
    found = json.loads(told.stdout.splitlines()[-1])
    if not found:
        return warning("torch", f"{detail}, but torch finds no GPU", hint)
    return ok("torch", f"{detail}, {'; '.join(found)}")


def _successor(number: int) -> int:
    return number + 1
