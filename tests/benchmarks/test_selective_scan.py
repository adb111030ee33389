"""The selective scan against the recurrence and against attention, and the involution against unfolding.

The recurrence is on one core at its best: it waits for nothing, where a GPU would wait for each step.

Takes some minutes on two cores:
`pytest -n 0 -m benchmark tests/benchmarks/test_selective_scan.py -s`.
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
    return selective_scan(x, delta, rates, b, c, skip)

def recurrence(x):
    state, outputs = torch.zeros(1, channels, states), []
    for x_t, delta_t, b_t, c_t in zip(*(part.unbind(1) for part in (x, delta, b, c))):
        added = (delta_t * x_t)[..., None] * b_t[:, None]
        state = torch.addcmul(added, torch.exp(delta_t[..., None] * rates), state)
        outputs.append((state @ c_t[..., None])[..., 0] + skip * x_t)
    return torch.stack(outputs, 1)

def attention(x):
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])

def involution(x):
    image = x.transpose(1, 2)[:, :64].reshape(1, 64, -1, 125)
    return involve(image, kernels)

def unfolding(x):
    image = x.transpose(1, 2)[:, :64].reshape(1, 64, -1, 125)
    unfolded = F.unfold(image, 7, padding=3).view(1, 4, 16, 49, *image.shape[2:])
    return (kernels[:, :, None] * unfolded).sum(3)

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(1, length, channels, requires_grad=backward)
if name in ('scan', 'recurrence'):
    rates = -torch.arange(1.0, states + 1).repeat(channels, 1)
    delta = F.softplus(torch.randn(1, length, channels) - 4)
    b, c = torch.randn(2, 1, length, states)
    skip = torch.ones(channels)
    for argument in (rates, delta, b, c, skip):
        argument.requires_grad_(backward)
if name in ('involution', 'unfolding'):
    kernels = torch.randn(1, 4, 49, length // 125, 125, requires_grad=backward)
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
def test_the_scan_is_linear_and_beats_the_recurrence_and_attention(way: str) -> None:
    near, near_mb = measured("scan", 15_625, way)
    far, far_mb = measured("scan", 62_500, way)
    slow, slow_mb = measured("recurrence", 15_625, way)
    some, _ = measured("attention", 15_625 // 4, way)
    square, square_mb = measured("attention", 15_625, way)
    print(
        f"{way}: four times the length {far / near:.1f} times the time, {far_mb / near_mb:.1f} the memory; "
        f"the recurrence {slow / near:.1f} times the time, {slow_mb / near_mb:.1f} the memory; "
        f"attention {square / near:.1f} times the time, {square_mb / near_mb:.1f} the memory, "
        f"and at four times the length {square / some:.1f} times its time"
    )
    assert far < 8 * near
    assert far_mb < 5 * near_mb
    assert near_mb < 250
    assert near < 1.5 * slow
    assert near < square / 4
    if way == "backward":
        assert near < slow / 2
        assert near_mb < slow_mb / 4
    assert square > 8 * some


@pytest.mark.benchmark
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_involution_needs_less_memory_than_unfolding(way: str) -> None:
    seconds, peak_mb = measured("involution", 62_500, way)
    unfolded, unfolded_mb = measured("unfolding", 62_500, way)
    print(f"{way}: unfolding {unfolded / seconds:.1f} times the time, {unfolded_mb / peak_mb:.1f} the memory")
    assert peak_mb < unfolded_mb / 2
