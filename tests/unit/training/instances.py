"""A network that finds bright quarters of a chip one by one, and the chips it learns from."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.data.objects import ChipObjects
from buildmap.execution.progress import Progress
from buildmap.models.instance_network import Detections, InstanceNetwork, Objects
from buildmap.preset import Instances, Model, Preset
from buildmap.training.loop import fit
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from tests.networks import make_card
from tests.unit.training.fakes import PRESET, FakeChips, make_batch
from tests.unit.training.tasks import Interrupts

QUARTERS = [(0, 0), (0, 8), (8, 0), (8, 8)]
"""Row and column of the blocks of `make_batch`, 8 pixels wide."""
ONE_BY_ONE: Preset = replace(PRESET, model=Model(name="mask-rcnn", instances=Instances()))


class Quarters(InstanceNetwork):
    """Judges each quarter of a chip by itself; some of them, drawn by lot, count twice in the loss."""

    stride = 8

    def __init__(self, *, dropout: float = 0.2, normalized: bool = True, lot: float = 0.3) -> None:
        super().__init__()
        self.lot = lot
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8) if normalized else nn.Identity(),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Conv2d(8, 1, 1),
            )

    def losses(self, images: Tensor, objects: Sequence[Objects]) -> dict[str, Tensor]:
        logits = self.layers(images)[:, 0].float()
        drawn = 1 + (torch.rand(len(objects), 4, device=logits.device) < self.lot).float()
        scores = torch.stack([self._scores(one) for one in logits])
        true = torch.stack([_truth(one) for one in objects]).to(scores)
        union = torch.stack([one.masks.any(dim=0) for one in objects]).to(logits)
        return {
            "box": (F.binary_cross_entropy_with_logits(scores, true, reduction="none") * drawn).mean(),
            "mask": 0.2 * F.binary_cross_entropy_with_logits(logits, union),
        }

    def detect(self, images: Tensor) -> list[Detections]:
        found = []
        for logits in self.layers(images)[:, 0].float():
            masks = torch.stack([logits[row : row + 8, col : col + 8] for row, col in QUARTERS])
            boxes = torch.tensor([[col, row, col + 8, row + 8] for row, col in QUARTERS]).to(logits)
            scores, order = self._scores(logits).sigmoid().sort(descending=True)
            found.append(
                Detections(boxes=boxes[order], scores=scores, masks=masks[order].sigmoid(), heatmaps=None)
            )
        return found

    def _scores(self, logits: Tensor) -> Tensor:
        return torch.stack([logits[row : row + 8, col : col + 8].mean() for row, col in QUARTERS])


def _truth(objects: Objects) -> Tensor:
    """Give (4,) which quarters are there."""
    corners = {(int(top), int(left)) for left, top, _, _ in objects.boxes.tolist()}
    return torch.tensor([quarter in corners for quarter in QUARTERS])


def with_objects(batch: Batch) -> Batch:
    """Take every quarter of the target that is building for one."""
    found = []
    for target in batch.target:
        there = [(row, col) for row, col in QUARTERS if target[row, col]]
        boxes = np.array([[col, row, col + 8, row + 8] for row, col in there], np.float32).reshape(-1, 4)
        one = ChipObjects(
            shape=(16, 16),
            boxes=boxes,
            places=boxes.astype(np.int64),
            masks=(np.ones((8, 8), np.bool_),) * len(there),
            vertices=tuple(box[[[0, 1], [2, 1], [2, 3], [0, 3]]] for box in boxes),
        )
        found.append(one)
    return replace(batch, objects=tuple(found))


class ObjectChips(FakeChips):
    """Batches from nowhere, with their buildings."""

    def training_part(self, step: int, part: int, parts: int) -> Batch:
        return with_objects(super().training_part(step, part, parts))

    def validation_batches(self) -> Iterator[Batch]:
        return (with_objects(make_batch(10_000 + index)) for index in range(self.validation))


def learn_instances(
    path: Path,
    preset: Preset,
    chips: Mapping[str, Any],
    network: Mapping[str, Any],
    *,
    fabric: Fabric,
    progress: Progress,
) -> tuple[EpochRecord, ...]:
    """Train the network on fake chips."""
    card = make_card(model=preset.model, stride=8)
    fake = ObjectChips(size=preset.training.batch_size, **chips)
    run = RunFolder(path, {"plan": 1})
    return fit(Quarters(**network), fake, preset, card, run, fabric=fabric, progress=progress)


def learn_in_turn(
    path: Path, presets: Mapping[str, Preset], *, fabric: Fabric, progress: Progress
) -> dict[str, tuple[EpochRecord, ...]]:
    """Do several trainings in the same processes, each at once and, under another name, in two goes."""
    still = {"dropout": 0.0, "normalized": False, "lot": 0.0}
    done = {}
    for name, preset in presets.items():
        learn = partial(learn_instances, preset=preset, chips={"validation": 3}, network=still, fabric=fabric)
        done[name] = learn(path / f"{name}.run", progress=progress)
        with suppress(KeyboardInterrupt):
            learn(path / f"{name}-stopped.run", progress=Interrupts(preset.training.steps_per_epoch + 1))
        done[f"{name}-stopped"] = learn(path / f"{name}-stopped.run", progress=progress)
    return done
