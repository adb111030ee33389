"""The state of a training as named tensors, so that one file without code can hold it."""

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Put a prefix before every name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def under_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Name an optimizer's tensors 'parameter.name'; the groups' settings follow from the preset."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back a copy of what `optimizer_tensors` gave; without any, be as new."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor.clone()  # it would be changed in place
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
