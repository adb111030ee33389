"""Optimizers and learning rates of the papers, as functions of the preset and the step."""

import math

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from buildmap.preset import Training


def make_optimizer(network: nn.Module, training: Training) -> Optimizer:
    """Optimize every parameter with Adam, AdamW or stochastic gradient descent with momentum.

    `weight_decay` is part of the gradient in `adam` and `sgd`, and there pulls at every parameter. In
    `adamw` it pulls apart from the gradient (Loshchilov and Hutter 2019), and at weights only: biases and
    the scales and shifts of normalizations, that is parameters of one dimension or none, are left free, as
    transformers are trained (Liu et al. 2021, Xie et al. 2021).
    """
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return SGD(network.parameters(), lr=rate, momentum=training.momentum, weight_decay=decay)
    if training.optimizer == "adam":
        return Adam(network.parameters(), lr=rate, weight_decay=decay)
    pulled = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": pulled, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=rate)


def learning_rate(step: int, training: Training) -> float:
    """Give the rate of one step: a function of the step alone, so a resumed run falls the same way.

    In the first `warmup_steps`, the schedule's rate is multiplied by a share that rises to 1.

    Args:
        step: Steps done before this one, in all epochs.
        training: The first rate, the schedule, and how many steps there are.
    """
    warmth = min((step + 1) / training.warmup_steps, 1.0) if training.warmup_steps else 1.0
    return training.learning_rate * warmth * _schedule(step, training)


def _schedule(step: int, training: Training) -> float:
    """Give what is left of the first rate, 0..1."""
    done = step / (training.epochs * training.steps_per_epoch)
    match training.schedule:
        case "polynomial":
            return float((1 - done) ** training.power)
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "steps":
            falls = step // (training.decay_epochs * training.steps_per_epoch)
            return float(training.decay_factor**falls)
        case "constant":
            return 1.0
