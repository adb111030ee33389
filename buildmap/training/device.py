"""Where a network learns, and in which precision."""

import logging
import re
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from buildmap.errors import MismatchError, ResourceError

Precision = Literal["float32", "bfloat16", "float16"]
"""Of convolutions and products of matrices."""

_WORDS = "--device auto, cpu, cuda or cuda:0,1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What a network learns on; one process for each."""

    kind: Literal["cpu", "cuda"]
    """What does the computing."""
    indices: tuple[int, ...]
    """Which GPUs; for 'cpu', the numbers of the processes."""

    @property
    def first(self) -> torch.device:
        """Where what one process does alone is computed."""
        return torch.device("cuda", self.indices[0]) if self.kind == "cuda" else torch.device("cpu")

    def __str__(self) -> str:
        if self.kind == "cpu":
            return "cpu" if len(self.indices) == 1 else f"cpu:{len(self.indices)}"
        return f"cuda:{','.join(map(str, self.indices))}"


def find_devices(device: str) -> Devices:
    """Take 'auto' (the first GPU if there is one), 'cpu', 'cuda', 'cuda:1', or several GPUs as 'cuda:0,1'.

    'cpu:2' makes two processes share the CPU: it gains nothing, and does all that several GPUs do.

    Raises:
        ResourceError: If a device is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return Devices(kind="cuda" if gpus else "cpu", indices=(0,))
    if processes := re.fullmatch(r"cpu(?::([1-9]\d*))?", device):
        return Devices(kind="cpu", indices=tuple(range(int(processes[1] or 1))))
    if not (listed := re.fullmatch(r"cuda(?::(\d+(?:,\d+)*))?", device)):
        raise ResourceError(f"no device '{device}'", hint=_WORDS)
    if not gpus:
        raise ResourceError(f"device {device} asked for, but torch finds no GPU", hint="--device cpu")
    indices = tuple(sorted(int(index) for index in (listed[1] or "0").split(",")))
    if len(set(indices)) < len(indices):
        raise ResourceError(f"device {device} names a GPU twice", hint=_WORDS)
    if max(indices) >= gpus:
        raise ResourceError(
            f"device {device} asked for, but torch finds {gpus} GPU{'s' * (gpus > 1)}, counted from 0",
            hint=f"--device cuda:{','.join(map(str, range(gpus)))}",
        )
    return Devices(kind="cuda", indices=indices)


def open_fabric(devices: Devices | str, *, precision: Precision = "float32", rank: int = 0) -> Fabric:
    """Take the device of one process.

    On a CPU, equal runs end with equal bits in every precision it offers.

    Args:
        devices: All of the training's, or what `find_devices` takes.
        precision: The weights stay in single precision. `float16` scales the loss, so that small gradients
            do not vanish; CPUs do not offer it.
        rank: Which of the devices is this process's; several need a process group, as
            `training.processes` makes it.

    Raises:
        ResourceError: If the device is not there.
        MismatchError: If it does not offer the precision.
    """
    devices = find_devices(devices) if isinstance(devices, str) else devices
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it prints INFO to stderr unasked
    if devices.kind == "cpu" and precision == "float16":
        raise MismatchError(
            "the preset's precision is float16, which a CPU does not offer",
            hint="--set training.precision=bfloat16, or float32, or --device cuda",
        )
    words: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
        "float32": "32-true",
        "bfloat16": "bf16-mixed",
        "float16": "16-mixed",
    }
    several = len(devices.indices) > 1
    fabric = Fabric(
        accelerator=devices.kind,
        devices=list(devices.indices) if devices.kind == "cuda" else len(devices.indices),
        strategy=DDPStrategy() if several else "auto",
        precision=words[precision],
        plugins=[_OurProcesses(rank)],
    )
    if several:
        fabric.launch()
    return fabric


class _OurProcesses(LightningEnvironment):
    """Tells Fabric that nobody else, such as a batch queue, has started the processes, and it need not."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0
