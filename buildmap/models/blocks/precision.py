"""Where mixed precision is not to reach."""

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """Keep autocast from what runs on a tensor's device; one without values is taken for the CPU's."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)
