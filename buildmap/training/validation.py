"""How good a network is on ground it has not seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.metrics.confusion import Confusion, PixelScores, count, scores
from buildmap.training.exchange import gather_objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Counts over every validation pixel."""

    loss: float | None
    """Mean over the batches; None if there were none."""
    by_source: Mapping[str, Confusion]
    """Pixels per source, threshold 0.5."""

    @property
    def scores(self) -> PixelScores | None:
        """Micro-scores over all sources; None if there were no batches."""
        return scores(sum(self.by_source.values(), start=Confusion())) if self.by_source else None

    @property
    def iou(self) -> float | None:
        """Micro-IoU over all sources; None if there were no batches."""
        return self.scores.iou if self.scores else None


def to_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Move a batch to a device: image, target, valid."""
    # Convolutions run faster with channels last: a third on CPUs, more on GPUs with tensor cores.
    image = torch.from_numpy(batch.image).to(device, memory_format=torch.channels_last)
    return image, torch.from_numpy(batch.target).to(device), torch.from_numpy(batch.valid).to(device)


def validate(network: nn.Module, loss: nn.Module, batches: Iterable[Batch], fabric: Fabric) -> Validation:
    """Predict every batch and count; leaves the network in training mode.

    Several processes take every so-manieth batch each, and all know the result: that of one process.

    Args:
        network: On the process's device, not set up for several.
        loss: Takes logits, target and valid.
        batches: All of them, in the same order in every process.
        fabric: This process's.
    """
    losses: list[float] = []
    by_source: dict[str, Confusion] = {}
    network.eval()
    with torch.inference_mode(), fabric.autocast():
        for batch in islice(batches, fabric.global_rank, None, fabric.world_size):
            image, target, valid = to_tensors(batch, fabric.device)
            logits = network(image).float()
            losses.append(float(loss(logits, target, valid)))
            building = (logits[:, 0] >= 0).cpu().numpy()
            for index, name in enumerate(batch.names):
                counts = count(building[index], batch.target[index] >= 0.5, batch.valid[index])
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
