"""How good a network is on ground it has not seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.metrics.confusion import Confusion, count


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Counts over every validation pixel."""

    loss: float | None
    """Mean over the batches; None if there were none."""
    by_source: Mapping[str, Confusion]
    """Pixels per source, threshold 0.5."""

    @property
    def iou(self) -> float | None:
        """Micro-IoU over all sources; None if there were no batches."""
        if not self.by_source:
            return None
        return sum(self.by_source.values(), start=Confusion()).iou


def to_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Move a batch to a device: image, target, valid."""
    # Convolutions run faster with channels last: a third on CPUs, more on GPUs with tensor cores.
    image = torch.from_numpy(batch.image).to(device, memory_format=torch.channels_last)
    return image, torch.from_numpy(batch.target).to(device), torch.from_numpy(batch.valid).to(device)


def validate(
    network: nn.Module, loss: nn.Module, batches: Iterable[Batch], device: torch.device
) -> Validation:
    """Predict every batch and count; leaves the network in training mode."""
    losses: list[float] = []
    by_source: dict[str, Confusion] = {}
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            image, target, valid = to_tensors(batch, device)
            logits = network(image)
            losses.append(float(loss(logits, target, valid)))
            building = (logits[:, 0] >= 0).cpu().numpy()
            for index, name in enumerate(batch.names):
                counts = count(building[index], batch.target[index] >= 0.5, batch.valid[index])
                by_source[name] = by_source[name] + counts if name in by_source else counts
    network.train()
    return Validation(loss=sum(losses) / len(losses) if losses else None, by_source=by_source)
