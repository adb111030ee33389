"""The selective scan against the recurrence and against attention, and the involution against unfolding.

On one core the recurrence is as fast forwards: it waits for nothing, where a GPU would wait for each step.

Takes some minutes on two cores: `pytest -m benchmark tests/benchmarks/test_selective_scan.py -s`.
"""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
import torch
import torch.nn.functional as F
from buildmap.models.blocks.involution import involve
from buildmap.models.blocks.selective_scan import selective_scan
name, length, backward = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'backward'
channels, states = 160, 16

def scan(x):
    ones = torch.ones(1, length, states)
    return selective_scan(x, torch.full_like(x, 0.01), rates, ones, ones, torch.ones(channels))

def recurrence(x):
    state, outputs = torch.zeros(1, channels, states), []
    for t in range(length):
        state = torch.exp(0.01 * rates) * state + 0.01 * x[:, t, :, None]
        outputs.append(state.sum(-1) + x[:, t])
    return torch.stack(outputs, 1)

def attention(x):
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])

def involution(x):
    image = x.transpose(1, 2)[:, :64].reshape(1, 64, -1, 125)
    return involve(image, kernels, 1)

def unfolding(x):
    image = x.transpose(1, 2)[:, :64].reshape(1, 64, -1, 125)
    unfolded = F.unfold(image, 7, padding=3).view(1, 4, 16, 49, *image.shape[2:])
    return (kernels[:, :, None] * unfolded).sum(3)

torch.set_num_threads(1)
torch.manual_seed(0)
rates = -torch.arange(1.0, states + 1).repeat(channels, 1)
kernels = torch.randn(1, 4, 49, length // 125, 125, requires_grad=backward)
x = torch.randn(1, length, channels, requires_grad=backward)
def peak():
    return int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))) / 1024
before = peak()
with torch.set_grad_enabled(backward):
    began = time.process_time()
    y = globals()[name](x)
    if backward:
        y.square().mean().backward()
print(time.process_time() - began, peak() - before)
"""


def measured(name: str, length: int, way: str) -> tuple[float, float]:
    """Run in a process of its own, on one core; give seconds of it, and MB beyond the arguments."""
    command = [sys.executable, "-c", PROGRAM, name, str(length), way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak_mb = map(float, done.stdout.split())
    print(f"{name:>10} {way:>8} {length:>6}: {seconds:7.2f} s {peak_mb:6.0f} MB")
    return seconds, peak_mb


@pytest.mark.benchmark
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_the_scan_is_linear_and_beats_attention(way: str) -> None:
    near, near_mb = measured("scan", 15_625, way)
    far, far_mb = measured("scan", 62_500, way)
    slow, slow_mb = measured("recurrence", 15_625, way)
    square, _ = measured("attention", 15_625, way)
    print(
        f"{way}: four times the length {far / near:.1f} times the time, {far_mb / near_mb:.1f} the memory; "
        f"the recurrence {slow / near:.1f} times the time, {slow_mb / near_mb:.1f} the memory; "
        f"attention {square / near:.1f} times the time"
    )
    assert far < 8 * near
    assert far_mb < 6 * near_mb
    assert near < square


@pytest.mark.benchmark
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_involution_needs_less_memory_than_unfolding(way: str) -> None:
    seconds, peak_mb = measured("involution", 62_500, way)
    unfolded, unfolded_mb = measured("unfolding", 62_500, way)
    print(f"{way}: unfolding {unfolded / seconds:.1f} times the time, {unfolded_mb / peak_mb:.1f} the memory")
    assert peak_mb < unfolded_mb / 2
