"""A generator that draws maps and a discriminator that tells drawn ones from true ones, learning together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam

from buildmap.data.dataset import Batch
from buildmap.errors import DivergedError
from buildmap.losses.adversarial import discriminator_loss, generator_loss
from buildmap.losses.perceptual import build_perceptual
from buildmap.losses.reconstruction import known, mean_absolute_error, sharpen
from buildmap.models.esrgan import Discriminator
from buildmap.preset import Pretrain
from buildmap.training.averages import make_average
from buildmap.training.objective import to_tensors
from buildmap.training.tensors import optimizer_tensors, restore_optimizer, under_prefix, with_prefix

PATIENCE = 10
"""Steps in a row without a finite loss after which training gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingLosses:
    """The losses of a step, not weighted."""

    l1: float
    """Mean absolute error of the generator's pictures."""
    perceptual: float
    """Difference of features; 0 where it has no weight."""
    adversarial: float
    """What the generator loses to the discriminator; 0 where it has no weight."""
    discriminator: float
    """What the discriminator loses; 2 log 2 where it cannot tell, 0 where nothing depends on it."""


class Adversaries:
    """Both networks and all that changes with them ("Map-Guided Cross-Training", section II-A).

    The truth is sharpened for L1 and perceptual loss, and plain for the discriminator. What is used in the
    end is a running mean of the generator's weights. No network follows a loss that is not finite.
    """

    def __init__(self, generator: nn.Module, pretrain: Pretrain, fabric: Fabric) -> None:
        """Take the generator, which is moved to the device and changed in place.

        The discriminator's weights are drawn from torch's generator.

        Raises:
            MissingInput: If there is no file of weights for the perceptual loss.
            InputError: If it holds no weights, or more than weights.
            MismatchError: If they are another network's.
            ResourceError: If they cannot be downloaded.
        """
        self._pretrain, self._fabric = pretrain, fabric
        self._generator = generator.to(fabric.device)
        self._discriminator = Discriminator(width=pretrain.discriminator_width).to(fabric.device)
        self._perceptual = None
        if pretrain.perceptual and pretrain.perceptual_weights is not None:
            self._perceptual = build_perceptual(pretrain.perceptual_weights).to(fabric.device)
        self._average = make_average(self._generator, pretrain.ema_decay)
        first, second = pretrain.betas
        self._optimizers = tuple(
            Adam(network.parameters(), lr=pretrain.learning_rate, betas=(first, second))
            for network in (self._generator, self._discriminator)
        )
        self._draw, self._drawing = fabric.setup(self._generator, self._optimizers[0])
        self._judge, self._judging = fabric.setup(self._discriminator, self._optimizers[1])
        self._failures = 0

    def learn(self, batch: Batch) -> DrawingLosses | None:
        """Make one step of the generator, then one of the discriminator; None if a loss was not finite.

        Raises:
            DivergedError: If that was so `PATIENCE` times in a row.
            ValueError: If the batch has no pictures.
        """
        if batch.picture is None:
            raise ValueError("a batch without pictures")
        image, _, valid = to_tensors(batch, self._fabric.device)
        truth = torch.from_numpy(batch.picture).to(self._fabric.device)
        made = self._draw(image)
        l1, perceptual, adversarial = self._generator_losses(made, truth, valid)
        plan = self._pretrain
        total = plan.l1 * l1 + plan.perceptual * perceptual + plan.adversarial * adversarial
        drew = self._step(total, self._drawing)
        judged, discriminator = True, torch.zeros(())
        if drew and plan.adversarial:
            discriminator = self._discriminator_loss(made.detach(), truth, valid)
            judged = self._step(discriminator, self._judging)
        if not (drew and judged):
            self._fail()
            return None
        self._average.update_parameters(self._generator)
        self._failures = 0
        return DrawingLosses(
            l1=l1.item(),
            perceptual=perceptual.item(),
            adversarial=adversarial.item(),
            discriminator=discriminator.item(),
        )

    def checkpoint(self) -> dict[str, Tensor]:
        """Give, on the CPU, all that a later run needs to go on; the mean's weights begin with 'average.'."""
        tensors = (
            with_prefix(self._generator.state_dict(), "generator.")
            | with_prefix(self._discriminator.state_dict(), "discriminator.")
            | with_prefix(self._average.state_dict(), "average.")
            | with_prefix(optimizer_tensors(self._optimizers[0]), "drawing.")
            | with_prefix(optimizer_tensors(self._optimizers[1]), "judging.")
        )
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Be what `checkpoint` has seen."""
        self._generator.load_state_dict(under_prefix(tensors, "generator."))
        self._discriminator.load_state_dict(under_prefix(tensors, "discriminator."))
        self._average.load_state_dict(under_prefix(tensors, "average."))
        restore_optimizer(self._optimizers[0], under_prefix(tensors, "drawing."))
        restore_optimizer(self._optimizers[1], under_prefix(tensors, "judging."))

    def _generator_losses(self, made: Tensor, truth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give L1, perceptual and adversarial loss; a loss without a weight is 0."""
        sharp, none = sharpen(truth), torch.zeros((), device=made.device)
        l1, perceptual, adversarial = mean_absolute_error(made, sharp, valid), none, none
        if self._perceptual is not None:
            with self._fabric.autocast():
                perceptual = self._perceptual(made, sharp, valid)
        if self._pretrain.adversarial:
            self._discriminator.requires_grad_(False)
            adversarial = generator_loss(self._judge(known(made, valid)), valid)
            self._discriminator.requires_grad_(True)
        return l1, perceptual, adversarial

    def _discriminator_loss(self, made: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        real, false = self._judge(known(truth, valid)), self._judge(known(made, valid))
        return discriminator_loss(real, false, valid)

    def _step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> bool:
        """Follow a loss's gradient; False, and nothing changed, if the loss is not finite."""
        if not math.isfinite(loss.item()):
            return False
        optimizer.zero_grad()
        self._fabric.backward(loss)
        optimizer.step()
        return True

    def _fail(self) -> None:
        self._failures += 1
        if self._failures == PATIENCE:
            raise DivergedError(
                f"the loss of a generator's training was not finite {PATIENCE} times in a row",
                hint=f"lower pretrain.learning_rate ({self._pretrain.learning_rate:g}) in the preset",
            )
