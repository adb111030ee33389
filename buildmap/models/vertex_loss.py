"""The loss of heat maps of vertices: a focal loss that is lenient near a vertex.

Glossary of equation 1: Y is the truth, 1 at a vertex and less about it; Y-check the prediction; alpha and
beta as in CornerNet; N the number of objects, which is here that of the regions that hold one.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

_ALPHA = 2
_BETA = 4


def vertex_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Give the penalty-reduced focal loss of equation 1.

    Args:
        logits: (N, rows, cols).
        target: (N, rows, cols), 0..1.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    at_vertex = (1 - probability) ** _ALPHA * logsigmoid(logits)
    elsewhere = (1 - target) ** _BETA * probability**_ALPHA * logsigmoid(-logits)
    return -at_vertex.where(target == 1, elsewhere).sum() / max(len(logits), 1)
