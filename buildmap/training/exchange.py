"""What the processes of one training tell each other; with one process, nothing is sent."""

from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor

T = TypeVar("T")


def gather_chips(mine: Tensor, fabric: Fabric) -> Tensor:
    """Give the whole batch to every process; gradients flow back into this process's share only.

    Args:
        mine: (B, ...) every so-manieth chip, from the process's number on.
        fabric: This process's.

    Returns:
        (B * world, ...) in the batch's order.
    """
    if fabric.world_size == 1:
        return mine
    sent = mine.detach().contiguous()
    sent = sent.to(torch.uint8) if sent.dtype == torch.bool else sent  # gloo sends no booleans
    shares = [torch.empty_like(sent) for _ in range(fabric.world_size)]
    dist.all_gather(shares, sent)
    shares = [share.to(mine.dtype) for share in shares]
    shares[fabric.global_rank] = mine
    return torch.stack(shares, dim=1).flatten(0, 1)


def sum_everywhere(values: Tensor, fabric: Fabric) -> Tensor:
    """Add up a tensor over the processes."""
    if fabric.world_size > 1:
        dist.all_reduce(values)
    return values


def agree(values: Tensor, fabric: Fabric) -> Tensor:
    """Give the first process's tensor to all, so that none decides otherwise for a last bit's sake."""
    if fabric.world_size > 1:
        dist.broadcast(values, src=0)
    return values


def gather_objects(mine: T, fabric: Fabric) -> list[T]:
    """Give every process's object to all, by rank."""
    if fabric.world_size == 1:
        return [mine]
    found: list[T | None] = [None] * fabric.world_size
    dist.all_gather_object(found, mine)
    return [item for item in found if item is not None]
