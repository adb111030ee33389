"""The training loop, top to bottom."""

import logging
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from buildmap.contract import ModelCard
from buildmap.data.dataset import Batch
from buildmap.errors import MismatchError, ResourceError
from buildmap.execution.prefetch import prefetch
from buildmap.execution.progress import Progress
from buildmap.losses.weighted_sum import build_loss
from buildmap.models import build_instances, build_model
from buildmap.models.instance_network import InstanceNetwork
from buildmap.models.network import Network
from buildmap.preset import Preset, Training
from buildmap.training.learner import Learner
from buildmap.training.optim import learning_rate
from buildmap.training.record import EpochRecord, best_record, is_exhausted
from buildmap.training.run_folder import RunFolder
from buildmap.training.tensors import under_prefix, with_prefix
from buildmap.training.validation import validate

_LOG = logging.getLogger(__name__)
_BATCHES_AHEAD = 4
_FEWEST_READERS, _MOST_READERS = 2, 8
_LEARNER, _HARDNESS = "learner.", "hardness."


class ChipSource(Protocol):
    """Where batches come from."""

    def training_part(self, step: int, part: int, parts: int) -> Batch:
        """Give chip i of a step's batch where i % parts is `part`.

        They are the same for the same step, whenever they are asked for between two `end_epoch`.
        """

    def validation_batches(self) -> Iterator[Batch]:
        """Give all validation ground once."""

    def note_losses(self, places: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Take note of what chips cost; nothing changes before `end_epoch`."""

    def end_epoch(self) -> None:
        """Lay the next epoch's chips by the losses noted."""

    @property
    def hardness(self) -> Mapping[str, NDArray[np.float32]]:
        """What was learned from losses noted; nothing where chips are not laid by it."""

    def restore_hardness(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Put back what `hardness` gave."""


def fresh_network(preset: Preset) -> Network | InstanceNetwork:
    """Make a preset's network; its weights follow from the preset's seed."""
    bands = len(preset.data.bands)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(preset.training.seed)
        if preset.model.instances is not None:
            return build_instances(preset.model, bands)
        return build_model(preset.model, bands, 1)


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

    With several devices, every process calls it with the same arguments, and the first one writes.

    Returns:
        A record of every epoch, also of those of an earlier run; the best weights are in `run`.

    Raises:
        DivergedError: If the loss stays without a finite value.
        MismatchError: If a batch cannot be shared by the devices, or chips are to be laid by the losses of
            pixels that the network does not have.
        ResourceError: If a batch does not fit into the GPU's memory.
        StorageError: If the state cannot be kept.
    """
    training, records = preset.training, list(run.records)
    parts = training.accumulate * fabric.world_size
    if training.batch_size % parts:
        raise MismatchError(
            f"batch_size {training.batch_size} cannot be shared by {fabric.world_size} devices in "
            f"{training.accumulate} parts each",
            hint=f"set batch_size to a multiple of {parts} in the preset",
        )
    if isinstance(network, InstanceNetwork) and preset.sampling.hard_share:
        raise MismatchError(
            f"hard_share {preset.sampling.hard_share:g} lays chips by the losses of pixels, and model "
            f"{preset.model.name} finds buildings one by one",
            hint="set hard_share to 0 in [sampling] of the preset",
        )
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        try:
            learner = Learner(
                network, build_loss(preset.loss), preset, fabric, went_back=sum(r.went_back for r in records)
            )
            _resume(learner, chips, run)
            with closing(_batches(chips, preset, len(records), fabric)) as batches:
                last = min(run.stop_after or training.epochs, training.epochs)
                while len(records) < last and not _is_over(records, training):
                    records.append(_epoch(learner, batches, chips, len(records), progress))
                    _keep(learner, chips, run, records, card)
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"a batch of {training.batch_size} chips does not fit into the GPU's memory: {error}",
                hint=f"set accumulate above {training.accumulate}, or lower batch_size, in the preset",
            ) from error
    return tuple(records)


def _resume(learner: Learner, chips: ChipSource, run: RunFolder) -> None:
    """Go to where the earlier run has ended, if there was one."""
    if run.records:
        state = run.take_state()
        learner.restore(under_prefix(state, _LEARNER))
        hardness = under_prefix(state, _HARDNESS)
        if hardness:
            chips.restore_hardness({name: tensor.numpy() for name, tensor in hardness.items()})


def _keep(
    learner: Learner, chips: ChipSource, run: RunFolder, records: Sequence[EpochRecord], card: ModelCard
) -> None:
    """Keep all that the next epoch depends on, and the weights if they are the best so far."""
    hardness = {name: torch.tensor(values) for name, values in chips.hardness.items()}
    state = with_prefix(learner.checkpoint(), _LEARNER) | with_prefix(hardness, _HARDNESS)
    if learner.fabric.is_global_zero:
        is_best = best_record(records, learner.training.metric) is records[-1]
        run.save(state, records, card, best=learner.judged.state_dict() if is_best else None)


def _is_over(records: Sequence[EpochRecord], training: Training) -> bool:
    return is_exhausted(records, training.metric, training.patience_epochs)


def _batches(
    chips: ChipSource, preset: Preset, epochs_done: int, fabric: Fabric
) -> Generator[tuple[Batch, ...]]:
    """Give this process's share of every step's batch, in parts, and make the next ones meanwhile."""
    training = preset.training
    per_epoch, accumulate = training.steps_per_epoch, training.accumulate
    steps = range(epochs_done * per_epoch, training.epochs * per_epoch)
    # Chips laid by losses wait for the epoch's end; others are made across it.
    at_once = per_epoch if preset.sampling.hard_share else max(len(steps), 1)

    def make(step: int) -> tuple[Batch, ...]:
        # Chip i is in part i % accumulate, however many processes share it.
        first, shares = accumulate * fabric.global_rank, accumulate * fabric.world_size
        return tuple(chips.training_part(step, first + part, shares) for part in range(accumulate))

    for start in range(0, len(steps), at_once):
        some = steps[start : start + at_once]
        with closing(prefetch(make, some, workers=_readers(fabric), ahead=_BATCHES_AHEAD)) as made:
            yield from made


def _readers(fabric: Fabric) -> int:
    """Choose how many threads make batches: few beside a network on the CPU, more for a GPU."""
    if fabric.device.type == "cpu":
        return _FEWEST_READERS
    return min(max((os.cpu_count() or 1) // fabric.world_size, _FEWEST_READERS), _MOST_READERS)


def _epoch(
    learner: Learner,
    batches: Iterator[Sequence[Batch]],
    chips: ChipSource,
    done: int,
    progress: Progress,
) -> EpochRecord:
    """Make an epoch's steps, then validate."""
    training, went_back = learner.training, learner.went_back
    steps = training.steps_per_epoch
    progress.start(f"epoch {done + 1}/{training.epochs}", steps)
    began = time.perf_counter()
    losses, waited_s = _learn_steps(
        learner, batches, chips, range(done * steps, (done + 1) * steps), progress
    )
    learned_s = time.perf_counter() - began
    chips.end_epoch()
    learner.unite()
    result = validate(
        learner.judged,
        learner.loss,
        chips.validation_batches(),
        learner.fabric,
        threshold=learner.threshold,
    )
    scores = result.scores
    record = EpochRecord(
        epoch=done + 1,
        train_loss=sum(losses) / len(losses) if losses else None,
        validation_loss=result.loss,
        iou=scores.iou if scores else None,
        f1=scores.f1 if scores else None,
        balanced_accuracy=scores.balanced_accuracy if scores else None,
        iou_by_source={name: counts.iou for name, counts in sorted(result.by_source.items())},
        counts_by_source={name: astuple(counts) for name, counts in sorted(result.by_source.items())},
        learning_rate=learning_rate((done + 1) * steps - 1, training),
        skipped_steps=steps - len(losses),
        seconds=round(time.perf_counter() - began, 3),
        chips_per_s=round(steps * training.batch_size / learned_s, 2),
        read_wait_share=round(waited_s / learned_s, 4),
        went_back=learner.went_back - went_back,
    )
    _LOG.info("%s", record)
    return record


def _learn_steps(
    learner: Learner,
    batches: Iterator[Sequence[Batch]],
    chips: ChipSource,
    steps: Sequence[int],
    progress: Progress,
) -> tuple[list[float], float]:
    """Give the finite losses of some steps, and the seconds spent waiting for their batches."""
    losses, waited_s, learner_free = [], 0.0, time.perf_counter()
    for step, parts in zip(steps, islice(batches, len(steps)), strict=True):
        waited_s += time.perf_counter() - learner_free
        learned = learner.learn(parts, step)
        if learned.loss is not None:
            losses.append(learned.loss)
        if len(learned.places):
            chips.note_losses(learned.places, learned.chip_losses)
        progress.advance()
        learner_free = time.perf_counter()
    return losses, waited_s
