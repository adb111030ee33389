"""Adam, and a learning rate that falls polynomially to zero."""

from torch import nn
from torch.optim import Adam

from buildmap.preset import Training


def make_optimizer(network: nn.Module, training: Training) -> Adam:
    """Optimize every parameter with Adam (Kingma and Ba 2015, algorithm 1)."""
    return Adam(network.parameters(), lr=training.learning_rate)


def learning_rate(step: int, training: Training) -> float:
    """Give the rate of one step: a function of the step alone, so a resumed run falls the same way.

    Args:
        step: Steps done before this one, in all epochs.
        training: The first rate, the exponent, and how many steps there are.
    """
    done = step / (training.epochs * training.steps_per_epoch)
    return float(training.learning_rate * (1 - done) ** training.power)
