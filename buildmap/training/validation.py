"""How good a network is on ground it has not seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest

import torch
from lightning_fabric import Fabric
from torch import nn

from buildmap.data.dataset import Batch
from buildmap.metrics.confusion import Confusion, PixelScores, count, scores
from buildmap.training.exchange import gather_objects
from buildmap.training.objective import HALF, objective_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Counts over every validation pixel."""

    loss: float | None
    """Mean over the batches; None if there were none."""
    by_source: Mapping[str, Confusion]
    """Pixels per source."""

    @property
    def scores(self) -> PixelScores | None:
        """Micro-scores over all sources; None if there were no batches."""
        return scores(sum(self.by_source.values(), start=Confusion())) if self.by_source else None

    @property
    def iou(self) -> float | None:
        """Micro-IoU over all sources; None if there were no batches."""
        return self.scores.iou if self.scores else None


def validate(
    network: nn.Module,
    loss: nn.Module,
    batches: Iterable[Batch],
    fabric: Fabric,
    *,
    threshold: float = HALF,
) -> Validation:
    """Predict every batch and count; leaves the network in training mode.

    Several processes take every so-manieth batch each, and all know the result: that of one process.

    Args:
        network: On the process's device, not set up for several.
        loss: Takes logits, target and valid; an `InstanceNetwork` has losses of its own instead.
        batches: All of them, in the same order in every process.
        fabric: This process's.
        threshold: Score and probability from which the pixels of an `InstanceNetwork` are buildings, as
            `paint` says; those of others are from 0.5.
    """
    objective = objective_of(network, loss, threshold=threshold)
    losses: list[float] = []
    by_source: dict[str, Confusion] = {}
    network.eval()
    with torch.inference_mode(), fabric.autocast():
        for batch in islice(batches, fabric.global_rank, None, fabric.world_size):
            judged = objective.judge(network, batch, fabric.device)
            losses.append(judged.loss)
            for index, name in enumerate(batch.names):
                counts = count(judged.building[index], batch.target[index] >= HALF, batch.valid[index])
                by_source[name] = by_source.get(name, Confusion()) + counts
    network.train()
    return _merge(gather_objects((losses, by_source), fabric))


def _merge(parts: list[tuple[list[float], dict[str, Confusion]]]) -> Validation:
    """Put what each process has found into the order of the batches."""
    turns = zip_longest(*(losses for losses, _ in parts))
    losses = [loss for turn in turns for loss in turn if loss is not None]
    by_source: dict[str, Confusion] = {}
    for _, found in parts:
        for name, counts in found.items():
            by_source[name] = by_source.get(name, Confusion()) + counts
    return Validation(loss=sum(losses) / len(losses) if losses else None, by_source=by_source)
