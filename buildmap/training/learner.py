"""A network that learns, one batch at a time, and survives batches it cannot learn from."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from numpy.typing import NDArray
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.errors import DivergedError
from buildmap.preset import Preset
from buildmap.training.averages import make_average
from buildmap.training.exchange import agree, gather_chips, gather_objects, sum_everywhere
from buildmap.training.objective import objective_of
from buildmap.training.optim import learning_rate, make_optimizer
from buildmap.training.tensors import optimizer_tensors, restore_optimizer, under_prefix, with_prefix

_LOG = logging.getLogger(__name__)
PATIENCE = 10
"""Steps in a row without a finite loss after which the last good weights are put back."""
MOST_RETURNS = 2
"""Times they are; after that, training gives up."""

_NETWORK, _OPTIMIZER, _AVERAGE, _SCALER = "network.", "optimizer.", "average.", "scaler."
_FAILURES, _GOOD = "failures", "good."


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What came of a step."""

    loss: float | None
    """Of the whole batch; None if it or the gradient was not finite, and nothing was changed."""
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 5), np.int64))
    """(B, 5) `Batch.places`, if the losses of chips were asked for and the step was made."""
    chip_losses: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    """(B,) mean binary cross-entropy over each chip's valid pixels, likewise."""


class Learner:
    """A network and all that changes with it: optimizer, running mean, loss scale, failures in a row.

    A batch comes in `accumulate` parts, one after the other, and each part in shares, one for every
    process. The loss of a part is computed over all of its chips, wherever they are, so sharing changes
    nothing but the last bits. Parts count by their valid pixels: the gradient is exactly that of the whole
    batch for losses that are means over pixels, and that of a mean of the parts' losses for others, such as
    Dice. `InstanceObjective` says what holds for networks that find buildings one by one. Normalizations see
    a share at a time on CPUs, and a part at a time on GPUs.
    """

    def __init__(
        self, network: nn.Module, loss: nn.Module, preset: Preset, fabric: Fabric, *, went_back: int = 0
    ) -> None:
        """Take the parts; the network is moved to the device and changed in place.

        Args:
            network: The same in every process.
            loss: Takes logits, target and valid; an `InstanceNetwork` has losses of its own instead.
            preset: How to learn.
            fabric: This process's.
            went_back: Times an earlier run of the same training has put good weights back.
        """
        self.training, self.fabric, self.loss = preset.training, fabric, loss.to(fabric.device)
        self.threshold = preset.predict.threshold
        self._keeps_chip_losses = preset.sampling.hard_share > 0
        self._objective = objective_of(
            network, self.loss, threshold=self.threshold, by_chip=self._keeps_chip_losses
        )
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self._bare = network.to(fabric.device).to(memory_format=torch.channels_last)
        decay = self.training.ema_decay
        self._average = None if decay is None else make_average(self._bare, decay)
        self._optimizer = make_optimizer(self._bare, self.training)
        self.network, self._stepper = fabric.setup(self._bare, self._optimizer)
        self.network.train()
        self.went_back = went_back
        self._failures = 0
        self._good = self._tensors()

    @property
    def judged(self) -> nn.Module:
        """The network to validate and to save: the running mean where there is one."""
        return self._average.module if self._average else self._bare

    def learn(self, parts: Sequence[Batch], step: int) -> Learned:
        """Make one step of the optimizer, or none if the loss or its gradient is not finite.

        After `PATIENCE` such steps in a row, the last good weights are put back and the steps that led
        there are not repeated, as Chowdhery et al. (2022, section 5.1) do.

        Args:
            parts: This process's shares of the batch's parts.
            step: Counted from 0, in all epochs.

        Raises:
            DivergedError: If that was of no avail.
        """
        buffers = [buffer.clone() for buffer in self._bare.buffers()]
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(step, self.training)
        self._optimizer.zero_grad()
        loss, chip_losses = self._backward(parts, step)
        value, norm = agree(torch.stack([loss, self._clip()]), self.fabric).tolist()
        if not (math.isfinite(value) and math.isfinite(norm)):
            # The forward pass has spoiled the running statistics, which would outlive the batch.
            for buffer, before in zip(self._bare.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self._optimizer.zero_grad()
            self._halve_scale()
            self._fail(value, norm, parts, step)
            return Learned(loss=None)
        self._failures = 0
        self._stepper.step()
        if self._average:
            self._average.update_parameters(self._bare)
        if not self._keeps_chip_losses:
            return Learned(loss=value)
        places = [gather_chips(torch.from_numpy(part.places).to(loss.device), self.fabric) for part in parts]
        return Learned(
            loss=value,
            places=_in_order(places).cpu().numpy(),
            chip_losses=_in_order(chip_losses).cpu().numpy(),
        )

    def unite(self) -> None:
        """Give every process the first one's running statistics: on CPUs each has seen its own shares."""
        for network in (self._bare, self.judged):
            for buffer in network.buffers():
                agree(buffer, self.fabric)

    def checkpoint(self) -> dict[str, Tensor]:
        """Give, on the CPU, all that a later run needs to go on; what is good of it, to go back to."""
        now = self._tensors()
        if not self._failures:
            self._good = now
            return now
        return {**now, **with_prefix(self._good, _GOOD), _FAILURES: torch.tensor(self._failures)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Be what `checkpoint` has seen."""
        self._put(tensors)
        if scaler := under_prefix(tensors, _SCALER):
            precision = self.fabric.strategy.precision
            values = {name: tensor.item() for name, tensor in scaler.items()}
            precision.load_state_dict({**precision.state_dict(), **values})
        self._failures = int(tensors.get(_FAILURES, torch.tensor(0)))
        self._good = under_prefix(tensors, _GOOD) or self._tensors()

    def _backward(self, parts: Sequence[Batch], step: int) -> tuple[Tensor, list[Tensor]]:
        """Add up the gradients of the parts; gives the loss of the batch, and the chips' where wanted."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        loss, chip_losses = torch.zeros((), device=self.fabric.device), list[Tensor]()
        for index, (part, weight) in enumerate(zip(parts, self._weights(parts), strict=True)):
            _seed_dropout(self.training.seed, step, index * world + rank)
            with self.fabric.no_backward_sync(self.network, enabled=index < len(parts) - 1):
                found = self._objective.learn(self.network, part, self.fabric)
                weighted = found.loss * weight
                # Each process has only its own share's gradient, and Fabric averages them: the sum is wanted.
                self.fabric.backward(weighted * world)
            loss += weighted.detach()
            if found.by_chip is not None:
                chip_losses.append(found.by_chip)
        return loss, chip_losses

    def _clip(self) -> Tensor:
        """Scale all gradients down to `clip_norm` together; gives their norm before."""
        most = self.training.clip_norm or math.inf
        norm = self.fabric.clip_gradients(
            self.network, self._stepper, max_norm=most, error_if_nonfinite=False
        )
        return torch.zeros(()) if norm is None else norm

    def _weights(self, parts: Sequence[Batch]) -> Tensor:
        """Give what each part counts for in its batch, (len(parts),): of mask networks, its valid pixels."""
        if len(parts) == 1:
            return torch.ones(1, device=self.fabric.device)
        counts = torch.tensor([self._objective.weigh(part) for part in parts], device=self.fabric.device)
        sum_everywhere(counts, self.fabric)
        return counts / counts.sum().clamp(min=1)

    def _fail(self, loss: float, norm: float, parts: Sequence[Batch], step: int) -> None:
        self._failures += 1
        epoch = step // self.training.steps_per_epoch + 1
        found = f"loss {loss:g}, norm of the gradient {norm:g}"
        _LOG.warning("epoch %d, step %d: %s; step skipped", epoch, step + 1, found)
        if self._failures < PATIENCE:
            return
        if self.went_back == MOST_RETURNS:
            shares = gather_objects([name for part in parts for name in part.names], self.fabric)
            names = ", ".join(sorted({name for share in shares for name in share}))
            raise DivergedError(
                f"{found} at epoch {epoch}, step {step + 1}, on chips of {names}, and nothing finite in "
                f"{PATIENCE} steps, though the last good weights were put back {MOST_RETURNS} times",
                hint=f"lower learning_rate ({self.training.learning_rate:g}) in the preset",
            )
        _LOG.warning("epoch %d, step %d: the last good weights are put back", epoch, step + 1)
        self._put(self._good)
        self.went_back += 1
        self._failures = 0

    def _halve_scale(self) -> None:
        """Halve the scale of the loss under `float16`, for its gradient may have overflowed."""
        precision = self.fabric.strategy.precision
        if isinstance(precision, MixedPrecision) and precision.scaler is not None:
            precision.scaler.update(precision.scaler.get_scale() / 2)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = with_prefix(self._bare.state_dict(), _NETWORK)
        tensors |= with_prefix(optimizer_tensors(self._optimizer), _OPTIMIZER)
        if self._average:
            tensors |= with_prefix(self._average.state_dict(), _AVERAGE)
        scaler = self.fabric.strategy.precision.state_dict()
        for name in ("scale", "_growth_tracker"):
            if name in scaler:
                tensors[f"{_SCALER}{name}"] = torch.tensor(scaler[name])
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back all but the scale of the loss, which has been halved for a reason."""
        self._bare.load_state_dict(under_prefix(tensors, _NETWORK))
        restore_optimizer(self._optimizer, under_prefix(tensors, _OPTIMIZER))
        if self._average:
            self._average.load_state_dict(under_prefix(tensors, _AVERAGE))


def _seed_dropout(seed: int, step: int, share: int) -> None:
    """Make torch's generator a function of the step, so that dropout resumes as it would have gone on."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, share]).generate_state(1)[0]))


def _in_order(parts: Sequence[Tensor]) -> Tensor:
    """Put chips, gathered part by part, into the order of the batch: chip i was in part i % len(parts)."""
    return torch.stack(list(parts), dim=1).flatten(0, 1)
