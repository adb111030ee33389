"""What several processes do in the tests: they import it by name."""

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from buildmap.errors import InputError
from buildmap.execution.progress import Progress, Silent
from buildmap.preset import Preset
from buildmap.training import exchange as exchanges
from buildmap.training.loop import fit, fresh_network
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.unit.training.fakes import PRESET, FakeChips

PLAN = {"plan": 1}


class Plain(nn.Module):
    """A network without normalization: what it makes of a chip does not depend on the others."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 1, 1)
            )

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.layers(image)
        return result


def preset_with(**training: Any) -> Preset:
    return replace(PRESET, training=replace(PRESET.training, **training))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "dropout": partial(Plain, dropout=0.3),
    "normalized": partial(fresh_network, PRESET),
}


def learn(
    path: Path, preset: Preset, chips: dict[str, Any], network: str, *, fabric: Fabric, progress: Progress
) -> tuple[EpochRecord, ...]:
    """Train one of these networks on fake chips."""
    card = make_card(model=preset.model, stride=4)
    fake = FakeChips(size=preset.training.batch_size, hard=preset.sampling.hard_share > 0, **chips)
    run = RunFolder(path, PLAN)
    return fit(NETWORKS[network](), fake, preset, card, run, fabric=fabric, progress=progress)


def kill_the_second(*, fabric: Fabric, progress: Progress) -> None:  # noqa: ARG001
    """End one process while the other waits for it."""
    if fabric.global_rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    fabric.barrier()


def tear_the_second(*, fabric: Fabric, progress: Progress) -> None:  # noqa: ARG001
    """Fail in one process while the other waits for it."""
    if fabric.global_rank == 1:
        raise InputError("north.tif is torn", hint="mend it")
    fabric.barrier()


def sleep(path: Path, *, fabric: Fabric, progress: Progress) -> None:
    """Say who is there, and stay."""
    (path / str(fabric.global_rank)).write_text(str(os.getpid()))
    fabric.barrier()
    progress.start("sleeping", 1)
    time.sleep(600)


def exchange(*, fabric: Fabric, progress: Progress) -> dict[str, Any]:
    """Exchange a bit of everything."""
    rank = fabric.global_rank
    logging.getLogger("buildmap.test").warning("process %d is here", rank)
    progress.start("adding", 7)
    chips = torch.arange(6.0).reshape(6, 1)[rank::2].requires_grad_()
    gathered = exchanges.gather_chips(chips, fabric)
    (gathered * torch.arange(6.0)[:, None]).sum().backward()
    progress.advance(2)
    progress.note("done")
    assert chips.grad is not None
    return {
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
        "chips": gathered.flatten().tolist(),
        "booleans": exchanges.gather_chips(torch.tensor([rank == 0, True]), fabric).tolist(),
        "gradient": chips.grad.flatten().tolist(),
        "sum": exchanges.sum_everywhere(torch.tensor([rank + 1.0]), fabric).tolist(),
        "agreed": exchanges.gather_objects(
            exchanges.agree(torch.tensor([rank + 1.0]), fabric).tolist(), fabric
        ),
        "objects": exchanges.gather_objects(rank, fabric),
    }


def exchange_and_learn(
    path: Path, runs: dict[str, tuple[str, Preset, dict[str, Any]]], *, fabric: Fabric, progress: Progress
) -> tuple[dict[str, Any], dict[str, tuple[EpochRecord, ...]]]:
    """Do both in the same processes, which take long to start."""
    found = exchange(fabric=fabric, progress=progress)
    return found, learn_in_turn(path, runs, fabric=fabric, progress=Silent())


class Interrupts(Silent):
    """Stops the run after some steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise KeyboardInterrupt


def learn_in_turn(
    path: Path, runs: dict[str, tuple[str, Preset, dict[str, Any]]], *, fabric: Fabric, progress: Progress
) -> dict[str, tuple[EpochRecord, ...]]:
    """Do several trainings in the same processes, each at once and, under another name, in two goes."""
    done = {}
    for name, (network, preset, chips) in runs.items():
        whole = partial(learn, path / f"{name}.run", preset, chips, network, fabric=fabric)
        stopped = partial(learn, path / f"{name}-stopped.run", preset, chips, network, fabric=fabric)
        done[name] = whole(progress=progress)
        with suppress(KeyboardInterrupt):
            stopped(progress=Interrupts(2 * preset.training.steps_per_epoch + 1))
        done[f"{name}-stopped"] = stopped(progress=progress)
    return done
