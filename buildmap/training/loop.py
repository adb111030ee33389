"""The training loop, top to bottom."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Protocol

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from buildmap.contract import ModelCard
from buildmap.data.dataset import Batch
from buildmap.errors import DivergedError, ResourceError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.losses.weighted_sum import build_loss
from buildmap.models import Network, build_model
from buildmap.preset import Preset, Training
from buildmap.training.optim import learning_rate, make_optimizer
from buildmap.training.record import EpochRecord
from buildmap.training.run_folder import RunFolder
from buildmap.training.validation import to_tensors, validate

_LOG = logging.getLogger(__name__)
_PATIENCE = 10
"""Steps in a row without a finite loss after which training gives up."""
_READERS = 2
_BATCHES_AHEAD = 4


class ChipSource(Protocol):
    """Where batches come from."""

    def training_batch(self, step: int) -> Batch:
        """Give the batch of a step: the same for the same step, whenever it is asked for."""

    def validation_batches(self) -> Iterator[Batch]:
        """Give all validation ground once."""


def fresh_network(preset: Preset) -> Network:
    """Make a preset's network; its weights follow from the preset's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(preset.training.seed)
        return build_model(preset.model, len(preset.data.bands), 1)


def fit(
    network: nn.Module,
    chips: ChipSource,
    preset: Preset,
    card: ModelCard,
    run: RunFolder,
    *,
    fabric: Fabric,
    progress: Progress,
) -> tuple[EpochRecord, ...]:
    """Train a network, from where an earlier run in `run` has ended.

    Returns:
        A record of every epoch, also of those of an earlier run; the best weights are in `run`.

    Raises:
        DivergedError: If the loss stays without a finite value.
        ResourceError: If a batch does not fit into the GPU's memory.
        StorageError: If the state cannot be kept.
    """
    training = preset.training
    network = network.to(fabric.device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, training)
    run.resume(network, optimizer)
    records = list(run.records)
    learner = Learner(network, optimizer, build_loss(preset.loss), training, fabric)
    steps = range(len(records) * training.steps_per_epoch, training.epochs * training.steps_per_epoch)
    try:
        with closing(
            prefetch(chips.training_batch, steps, workers=_READERS, ahead=_BATCHES_AHEAD)
        ) as batches:
            while len(records) < training.epochs:
                records.append(_epoch(learner, batches, chips, len(records), progress))
                run.save(network, optimizer, records, card)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"a batch of {training.batch_size} chips does not fit into the GPU's memory: {error}",
            hint=f"set batch_size below {training.batch_size} in the preset",
        ) from error
    return tuple(records)


class Learner:
    """A network that learns, one batch at a time."""

    def __init__(
        self, network: nn.Module, optimizer: Optimizer, loss: nn.Module, training: Training, fabric: Fabric
    ) -> None:
        """Take the parts; the network stays where it is and is changed in place."""
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.loss, self.training, self.fabric = loss.to(fabric.device), training, fabric
        self._failures = 0

    def learn(self, batch: Batch, step: int) -> float | None:
        """Make one step of the optimizer.

        Returns:
            The loss; None if it was not finite, and nothing was changed.

        Raises:
            DivergedError: If that happens too often in a row.
        """
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        loss = self.loss_of(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            # The forward pass has spoiled the running means, which would outlive the batch.
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self._fail(value, step)
            return None
        self._failures = 0
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.training)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return value

    def loss_of(self, batch: Batch) -> torch.Tensor:
        """Compare what the network makes of a batch with the truth."""
        image, target, valid = to_tensors(batch, self.fabric.device)
        loss: torch.Tensor = self.loss(self.network(image), target, valid)
        return loss

    def _fail(self, value: float, step: int) -> None:
        self._failures += 1
        epoch = step // self.training.steps_per_epoch + 1
        _LOG.warning("epoch %d, step %d: loss is %s, step skipped", epoch, step + 1, value)
        if self._failures == _PATIENCE:
            raise DivergedError(
                f"loss was {value} at epoch {epoch}, step {step + 1}, and in {_PATIENCE} steps in a row",
                hint=f"lower learning_rate ({self.training.learning_rate:g}) in the preset",
            )


def _epoch(
    learner: Learner, batches: Iterator[Batch], chips: ChipSource, done: int, progress: Progress
) -> EpochRecord:
    """Make an epoch's steps, then validate."""
    training = learner.training
    steps = training.steps_per_epoch
    progress.start(f"epoch {done + 1}/{training.epochs}", steps)
    began = time.perf_counter()
    losses, waited_s = _learn_steps(learner, batches, range(done * steps, (done + 1) * steps), progress)
    learned_s = time.perf_counter() - began
    result = validate(learner.network, learner.loss, chips.validation_batches(), learner.fabric.device)
    record = EpochRecord(
        epoch=done + 1,
        train_loss=sum(losses) / len(losses) if losses else None,
        validation_loss=result.loss,
        iou=result.iou,
        iou_by_source={name: counts.iou for name, counts in sorted(result.by_source.items())},
        learning_rate=learning_rate((done + 1) * steps - 1, training),
        skipped_steps=steps - len(losses),
        seconds=round(time.perf_counter() - began, 3),
        chips_per_s=round(steps * training.batch_size / learned_s, 2),
        read_wait_share=round(waited_s / learned_s, 4),
    )
    _LOG.info("%s", record)
    return record


def _learn_steps(
    learner: Learner, batches: Iterator[Batch], steps: Sequence[int], progress: Progress
) -> tuple[list[float], float]:
    """Give the finite losses of some steps, and the seconds spent waiting for their batches."""
    losses, waited_s, learner_free = [], 0.0, time.perf_counter()
    for step, batch in zip(steps, islice(batches, len(steps)), strict=True):
        waited_s += time.perf_counter() - learner_free
        if (loss := learner.learn(batch, step)) is not None:
            losses.append(loss)
        progress.advance()
        learner_free = time.perf_counter()
    return losses, waited_s
