"""Where a network runs, and how much of the machine it takes."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from buildmap.contract import ModelCard
from buildmap.errors import ResourceError
from buildmap.execution.memory import release_unused

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Tta = Literal["none", "flips", "d4"]

DEVICES = ("auto", "cpu", "cuda", "tensorrt")
_PROC = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")
_LANES = 2
"""Two windows on half the cores each go faster than one on all: a network does not split evenly."""

_PROBE_PX = 512
"""Side of the window on which memory is measured: large enough to extrapolate from, and soon done."""
_MARGIN = 1.2
"""Allocators round up, and more so for large windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """How a network runs; the probabilities stay the same but for `precision` and `tta`."""

    device: str = "auto"
    """One of `parse_devices`; 'auto' is the first GPU if there is one, else the CPU."""
    precision: Precision = "auto"
    """Of convolutions in torch; 'auto' is bf16 on a GPU and fp32 on a CPU."""
    tta: Tta = "none"
    """Test-time augmentation: average over the four mirror images, or over all eight symmetries."""
    threads: int | None = None
    """CPU cores the network may take, all lanes together; None takes those this process may use."""
    lanes: int | None = None
    """Windows in the network at the same time; None chooses."""
    batch: int | None = None
    """Windows per call; None takes one on a CPU, and on a GPU as many as fit."""
    max_memory_bytes: int | None = None
    """Main memory for the activations of all lanes; weights and rasters come on top."""
    max_vram_bytes: int | None = None
    """GPU memory for all of it."""
    window_px: int | None = None
    """Side of the windows that will come, by which memory is judged; the card's own when None."""

    def __post_init__(self) -> None:
        for name in ("threads", "lanes", "batch", "max_memory_bytes", "max_vram_bytes", "window_px"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} is not positive")

    def sized(self, card: ModelCard) -> ModelCard:
        """Give a card with the windows that will come, in whole strides; it says no more of halos."""
        if self.window_px is None:
            return card
        return replace(card, window_px=-(-self.window_px // card.stride) * card.stride, halo_px=0)

    def share(self, models: int) -> "BackendOptions":
        """Give what one of several models may take; they keep their memory while others run."""
        memory, vram = self.max_memory_bytes, self.max_vram_bytes
        return replace(
            self,
            max_memory_bytes=None if memory is None else max(1, memory // models),
            max_vram_bytes=None if vram is None else max(1, vram // models),
        )


DEFAULTS = BackendOptions()


def parse_devices(text: str) -> tuple[str, ...]:
    """Give the devices a user named: 'auto', 'cpu', 'cuda', or a list such as 'cuda:0,1'.

    Returns:
        One device a process: ('cuda:0', 'cuda:1').

    Raises:
        ResourceError: If a device is unknown, named twice, or not one that can be numbered.
    """
    devices: list[str] = []
    for word in text.split(","):
        kind, colon, _ = devices[-1].partition(":") if devices else ("", "", "")
        device = f"{kind}:{word.strip()}" if colon and word.strip().isdecimal() else word.strip()
        split_device(device)
        devices.append(device)
    if len(set(devices)) < len(devices):
        raise ResourceError(f"device named twice in '{text}'", hint="--device cuda:0,1")
    if len(devices) > 1 and not all(":" in device for device in devices):
        raise ResourceError(f"devices '{text}' cannot run together", hint="--device cuda:0,1")
    return tuple(devices)


def split_device(device: str) -> tuple[str, int]:
    """Give a device's kind and number: ('cuda', 1) for 'cuda:1'; without a number it is the first.

    Raises:
        ResourceError: If there is no such kind of device, or its number is none.
    """
    kind, colon, number = device.partition(":")
    if kind not in DEVICES or (colon and (kind in {"auto", "cpu"} or not re.fullmatch(r"\d{1,4}", number))):
        raise ResourceError(
            f"no device '{device}'", hint=f"--device {', '.join(DEVICES)}, or one by number: cuda:0"
        )
    return kind, int(number or 0)


def available_cores() -> int:
    """Count the CPU cores this process may use: its affinity, its container's quota, OMP_NUM_THREADS."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    limits = [affinity, *_quotas(), *([int(asked)] if asked.isdecimal() else [])]
    return max(1, min(limits))


def choose_lanes(cores: int, options: BackendOptions) -> int:
    """Give the number of windows to have in a CPU's network at the same time."""
    return options.lanes or min(_LANES, cores)


def lanes_that_fit(lanes: int, lane_bytes: int, options: BackendOptions) -> int:
    """Take lanes away until they fit the memory that is allowed.

    Raises:
        ResourceError: If not even one fits.
    """
    allowed = options.max_memory_bytes
    if allowed is None:
        return lanes
    if lane_bytes > allowed:
        raise ResourceError(
            f"the network needs {lane_bytes / 1e6:.0f} MB for one window, "
            f"{allowed / 1e6:.0f} MB are left for it",
            hint="raise --max-memory, or cut smaller windows: --window-px",
        )
    return min(lanes, allowed // lane_bytes)


def window_bytes(run: Callable[[int], object], card: ModelCard) -> int:
    """Estimate what a window's activations take, from a smaller one; 0 where the system does not say.

    Args:
        run: Runs the network on a square of so many pixels a side.
        card: Says how large a window is.
    """
    side = min(card.window_px, _PROBE_PX // card.stride * card.stride or card.stride)
    return int(growth_bytes(lambda: run(side)) * (card.window_px / side) ** 2 * _MARGIN)


def growth_bytes(action: Callable[[], object]) -> int:
    """Measure by how much the process grows while `action` runs; 0 where the system does not say."""
    release_unused()  # which would hide the growth
    try:
        (_PROC / "clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
        before = _status_bytes("VmRSS")
        action()
        return max(0, _status_bytes("VmHWM") - before)
    except OSError:
        return 0


def _status_bytes(key: str) -> int:
    lines = (_PROC / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _quotas() -> list[int]:
    """Give the whole cores of every CPU quota (cgroup v2) this process is under."""
    try:
        lines = (_PROC / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
    quotas = []
    for folder in (_CGROUPS / group, *(_CGROUPS / group).parents):
        path = folder / "cpu.max"
        if path.is_file():
            quota, _, period = path.read_text(encoding="ascii").partition(" ")
            if quota != "max":
                quotas.append(-(-int(quota) // int(period)))
    return quotas
