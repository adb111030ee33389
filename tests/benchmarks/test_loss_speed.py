"""The time of each loss beside plain binary cross-entropy, there and back, on one batch."""

import time
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from buildmap.losses.weighted_sum import build_loss
from buildmap.preset import LOSSES, Loss

SHAPE = (8, 512, 512)
PARTS = ("bce", "dice", "nr_dice", "ell", "wdice", "lace", "boundary_alignment")
MOST = {"boundary_alignment": 60.0}
MOST_OF_THE_OTHERS = 20.0


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(SHAPE)
    for row in range(0, SHAPE[1], 64):
        target[:, row : row + 24, 10:40] = 1
    valid = torch.ones(SHAPE, dtype=torch.bool)
    valid[:, :16] = False
    return torch.randn(SHAPE[0], 1, *SHAPE[1:], generator=generator), target, valid


def seconds(loss: Callable[[Tensor], Tensor], logits: Tensor, times: int = 5) -> float:
    """Give the least work of several runs on one core, forward and backward, after one to warm up."""
    logits = logits.clone().requires_grad_()
    spent = []
    for _ in range(times + 1):
        logits.grad = None
        began = time.process_time()
        loss(logits).backward()
        spent.append(time.process_time() - began)
    return min(spent[1:])


@pytest.mark.benchmark
def test_no_loss_takes_long_beside_plain_cross_entropy() -> None:
    logits, target, valid = batch()
    plain = seconds(lambda z: F.binary_cross_entropy_with_logits(z[:, 0], target), logits)
    print(f"plain binary cross-entropy: {1000 * plain:.1f} ms")
    losses = {part: Loss(**{part: 1.0}) for part in PARTS} | {"bd+lace+wdice": LOSSES["bd+lace+wdice"]}
    ratios = {}
    for name, chosen in losses.items():
        loss = build_loss(chosen)
        ratios[name] = seconds(lambda z, loss=loss: loss(z, target, valid), logits) / plain
        print(f"{name}: {1000 * plain * ratios[name]:.0f} ms, {ratios[name]:.1f} x")
    for part in PARTS:
        assert ratios[part] < MOST.get(part, MOST_OF_THE_OTHERS)
