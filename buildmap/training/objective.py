"""How a part of a batch becomes a loss, and how a network is judged: by pixels, or building by building."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.models.instance_network import InstanceNetwork, Objects
from buildmap.training.exchange import gather_chips
from buildmap.training.painting import paint

HALF = 0.5
"""Probability from which a pixel is building in the validation of mask networks."""
_SEED = 0
"""Of what an instance network draws while it is judged: which of its boxes count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLoss:
    """What a part of a batch costs."""

    loss: Tensor
    """Of all its chips, the same in every process; gradients reach the process's own share."""
    by_chip: Tensor | None = None
    """(B,) mean binary cross-entropy over each chip's valid pixels, if it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a network makes of a validation batch."""

    loss: float
    """Of the batch."""
    building: NDArray[np.bool_]
    """(B, rows, cols), True = building."""


class Objective(Protocol):
    """What a network is to learn."""

    def weigh(self, part: Batch) -> float:
        """Say what this process's share of a part counts for, beside other parts of the batch."""

    def learn(self, network: nn.Module, part: Batch, fabric: Fabric) -> PartLoss:
        """Give the loss of a part of a batch, of which every process has a share.

        Args:
            network: As Fabric has set it up.
            part: This process's share.
            fabric: This process's.
        """

    def judge(self, network: nn.Module, batch: Batch, device: torch.device) -> Judged:
        """Look at a validation batch, alone.

        Args:
            network: On the device, not set up for several, in evaluation mode.
            batch: All of it.
            device: Where the network computes.
        """


def objective_of(
    network: nn.Module, loss: nn.Module, *, threshold: float = HALF, by_chip: bool = False
) -> Objective:
    """Choose by the kind of network: an `InstanceNetwork` brings its own losses.

    Args:
        network: What learns.
        loss: Takes logits, target and valid; of mask networks.
        threshold: Probability from which an instance network's pixel is building: see `InstanceObjective`.
        by_chip: Give the losses of chips as well, which instance networks do not.
    """
    return (
        InstanceObjective(threshold)
        if isinstance(network, InstanceNetwork)
        else PixelObjective(loss, by_chip)
    )


def to_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Move a batch to a device: image, target, valid."""
    target, valid = torch.from_numpy(batch.target), torch.from_numpy(batch.valid)
    return _image(batch, device), target.to(device), valid.to(device)


def to_objects(batch: Batch, device: torch.device) -> tuple[Tensor, list[Objects]]:
    """Move a batch to a device: image, and the buildings of each chip.

    Raises:
        ValueError: If it was made without objects.
    """
    if batch.objects is None:
        raise ValueError("the batch was made for a network of masks: it has no objects")
    objects = [
        Objects(
            boxes=torch.from_numpy(one.boxes).to(device),
            masks=torch.from_numpy(one.draw_masks()).to(device),
            vertices=tuple(torch.from_numpy(some).to(device) for some in one.vertices),
        )
        for one in batch.objects
    ]
    return _image(batch, device), objects


class PixelObjective:
    """Logits of every pixel, and a loss of them: computed over all chips of a part, wherever they are."""

    def __init__(self, loss: nn.Module, by_chip: bool) -> None:
        """Take a loss of logits, target and valid; say whether those of chips are wanted."""
        self._loss, self._by_chip = loss, by_chip

    def weigh(self, part: Batch) -> float:
        """Count the valid pixels."""
        return float(part.valid.sum())

    def learn(self, network: nn.Module, part: Batch, fabric: Fabric) -> PartLoss:
        """Predict the share, gather all of them, and compare."""
        image, *truth = to_tensors(part, fabric.device)
        # Gathered, the shares give the same loss in every process, whatever it is made of.
        logits, target, valid = (gather_chips(share, fabric) for share in (network(image), *truth))
        return PartLoss(
            loss=self._loss(logits, target, valid),
            by_chip=_loss_by_chip(logits.detach(), target, valid) if self._by_chip else None,
        )

    def judge(self, network: nn.Module, batch: Batch, device: torch.device) -> Judged:
        """Compare, and take what is as likely building as not for building."""
        image, target, valid = to_tensors(batch, device)
        logits = network(image).float()
        return Judged(
            loss=float(self._loss(logits, target, valid)), building=(logits[:, 0] >= 0).cpu().numpy()
        )


class InstanceObjective:
    """The sum of an instance network's own losses.

    Each process computes them over its share, for a network cannot be asked about boxes that it has proposed
    elsewhere, and the mean of the shares is what counts. That is the loss of the whole part for losses that
    are means over images, and differs a little for means over objects.
    """

    def __init__(self, threshold: float) -> None:
        """Take the score, and the probability of a mask, from which a pixel is judged to be building."""
        self._threshold = threshold

    def weigh(self, part: Batch) -> float:
        """Count the chips: all of them show what is there."""
        return float(len(part.names))

    def learn(self, network: nn.Module, part: Batch, fabric: Fabric) -> PartLoss:
        """Compare within the share."""
        image, objects = to_objects(part, fabric.device)
        losses = network(image, _Closed(objects))
        return PartLoss(loss=gather_chips(_sum(losses)[None], fabric).mean())

    def judge(self, network: nn.Module, batch: Batch, device: torch.device) -> Judged:
        """Compare, and take for building what `paint` makes at least as likely as the threshold."""
        if not isinstance(network, InstanceNetwork):
            raise TypeError("not a network that finds buildings one by one")
        image, objects = to_objects(batch, device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(_SEED)
            loss = float(_sum(network.losses(image, objects)))
        rows, cols = image.shape[2:]
        painted = torch.stack([paint(found, (rows, cols)) for found in network.detect(image)])
        return Judged(loss=loss, building=(painted >= self._threshold).cpu().numpy())


class _Closed:
    """Objects as Fabric hands them on: in a list it would try to change the frozen dataclasses, and fail."""

    def __init__(self, objects: Sequence[Objects]) -> None:
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> Objects:
        return self._objects[index]

    def __iter__(self) -> Iterator[Objects]:
        return iter(self._objects)


def _image(batch: Batch, device: torch.device) -> Tensor:
    # Convolutions run faster with channels last: a third on CPUs, more on GPUs with tensor cores.
    return torch.from_numpy(batch.image).to(device, memory_format=torch.channels_last)


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _loss_by_chip(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Average the binary cross-entropy over each chip's valid pixels, (B,)."""
    seen = logits[:, 0].float().masked_fill(~valid, 0.0)
    per_pixel = F.binary_cross_entropy_with_logits(seen, target, reduction="none").masked_fill(~valid, 0.0)
    return per_pixel.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
