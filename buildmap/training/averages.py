"""A running mean of a network's weights, which often predicts better than the weights themselves."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def make_average(network: nn.Module, decay: float) -> AveragedModel:
    """Start an exponential moving average: at each update, decay * mean + (1 - decay) * weights.

    The first update takes the weights as they are. Buffers, such as the running statistics of
    normalizations, are copied and not averaged. `average.module` is the averaged network.

    Args:
        network: Where its parameters are, those of the mean will be.
        decay: Share of the mean that stays at an update, 0..1.
    """
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=update, use_buffers=False)
    return average.eval().requires_grad_(requires_grad=False)
