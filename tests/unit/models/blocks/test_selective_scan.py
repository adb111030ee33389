"""The chunked scan against the recurrence, a position at a time in double precision."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from buildmap.models.blocks.selective_scan import Mamba, selective_scan

Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def recurrence(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Follow the state from position to position."""
    state = torch.zeros(x.shape[0], *a.shape, dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        added = torch.einsum("be,bn->ben", delta[:, t] * x[:, t], b[:, t])
        state = torch.exp(torch.einsum("be,en->ben", delta[:, t], a)) * state + added
        outputs.append(torch.einsum("ben,bn->be", state, c[:, t]) + d * x[:, t])
    return torch.stack(outputs, 1)


def draw(length: int, *, delta: float = 0.05, seed: int = 0) -> Arguments:
    """Make arguments for two sequences of three channels, four states each."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    step = delta * normal(2, length, 3).exp()
    return (
        normal(2, length, 3),
        step,
        -normal(3, 4).exp(),
        normal(2, length, 4),
        normal(2, length, 4),
        normal(3),
    )


@pytest.mark.parametrize("length", [1, 63, 64, 65, 700, 4500])
def test_equals_the_recurrence(length: int) -> None:
    torch.testing.assert_close(selective_scan(*draw(length)), recurrence(*draw(length)))


@pytest.mark.parametrize("length", [5, 64, 300])
def test_all_gradients_equal_the_recurrence_s(length: int) -> None:
    arguments = [argument.requires_grad_() for argument in draw(length)]
    pull = torch.randn(2, length, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(selective_scan(*arguments), arguments, pull)
    expected = torch.autograd.grad(recurrence(*arguments), arguments, pull)
    for got, true in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, true)


def test_slow_decay_carries_a_beginning_through_many_chunks_to_the_end() -> None:
    length = 64 * 20 + 10
    x = torch.zeros(1, length, 1, dtype=torch.float64)
    x[0, 0] = 1
    ones = torch.ones(1, length, 1, dtype=torch.float64)
    rate = torch.full((1, 1), -1e-4, dtype=torch.float64)
    y = selective_scan(x, ones, rate, ones, ones, torch.zeros(1))
    torch.testing.assert_close(y[0, :, 0], torch.exp(-1e-4 * torch.arange(length, dtype=torch.float64)))


@pytest.mark.parametrize("delta", [1e-4, 1.0, 300.0])
def test_single_precision_is_stable_however_fast_states_decay(delta: float) -> None:
    arguments = draw(500, delta=delta)
    single = [argument.float().requires_grad_() for argument in arguments]
    y = selective_scan(*single)
    expected = recurrence(*arguments)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    y.sum().backward()
    assert all(argument.grad is not None and argument.grad.isfinite().all() for argument in single)


def test_half_precision_is_computed_in_single_also_under_autocast() -> None:
    half = [argument.bfloat16() for argument in draw(200)]
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(*half)
    assert y.dtype == torch.bfloat16
    expected = recurrence(*(argument.double() for argument in half))
    torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=1e-5)


def test_the_same_scan_twice_gives_the_same_bits() -> None:
    arguments = [argument.float().requires_grad_() for argument in draw(300)]
    first, second = (
        torch.autograd.grad(selective_scan(*arguments).square().sum(), arguments) for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_block_sees_what_came_before_and_nothing_after() -> None:
    torch.manual_seed(0)
    block = Mamba(8).double()
    x = torch.randn(1, 90, 8, dtype=torch.float64)
    changed = x.clone()
    changed[0, 40] += 1
    difference = (block(changed) - block(x)).abs().amax(2)[0]
    assert not difference[:40].any()
    assert (difference[40:50] > 0).all()
    assert difference[80:].max() > 0


def test_the_block_equals_its_parts_written_out() -> None:
    torch.manual_seed(0)
    block = Mamba(20, states=3).double()
    x = torch.randn(2, 30, 20, dtype=torch.float64)
    inside, gate = torch.split(x @ block.enter.weight.T, 40, dim=2)
    padded = torch.cat([torch.zeros(2, 3, 40, dtype=torch.float64), inside], 1)
    conv = torch.stack([padded[:, k : k + 30] * block.conv.weight[:, 0, k] for k in range(4)]).sum(0)
    conv += block.conv.bias
    active = conv * conv.sigmoid()
    low_rank, b, c = torch.split(active @ block.select.weight.T, [2, 3, 3], dim=2)
    delta = torch.log1p(torch.exp(low_rank @ block.delta.weight.T + block.delta.bias))
    y = recurrence(active, delta, -block.log_rate.exp(), b, c, block.skip)
    expected = (y * gate * gate.sigmoid()) @ block.leave.weight.T
    torch.testing.assert_close(block(x), expected)


def test_the_block_starts_with_deltas_in_the_usual_range_and_rates_from_one_to_the_number_of_states() -> None:
    torch.manual_seed(0)
    block = Mamba(80)
    delta = torch.nn.functional.softplus(block.delta.bias)
    assert 0.001 <= delta.min() < 0.002 and 0.05 < delta.max() <= 0.1001
    rates = block.log_rate.exp()
    torch.testing.assert_close(rates, torch.arange(1.0, 17).expand(160, 16))


def test_parameters_of_the_block_add_up() -> None:
    projections = 80 * 320 + 160 * (5 + 32) + 160 * 80
    delta, conv, rates, skip = 5 * 160 + 160, 160 * 4 + 160, 160 * 16, 160
    counted = sum(p.numel() for p in Mamba(80).parameters())
    assert counted == projections + delta + conv + rates + skip == 48_800


def test_what_is_kept_for_the_gradient_grows_with_the_length_and_is_less_than_every_state() -> None:
    kept = []
    for length in (640, 1280, 2560):
        sizes: dict[int, int] = {}
        alive: list[Tensor] = []

        def note(tensor: Tensor, sizes: dict[int, int] = sizes, alive: list[Tensor] = alive) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
            return tensor

        x, delta, _, _, _, d = (argument.float() for argument in draw(length))
        many = [torch.randn(2, length, 64) for _ in range(2)]
        arguments = [argument.requires_grad_() for argument in (x, delta, -torch.rand(3, 64), *many, d)]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            selective_scan(*arguments)
        kept.append(sum(sizes.values()))
        assert kept[-1] < 2 * length * 3 * 64 * 4
    assert all(later < 2.2 * earlier for earlier, later in pairwise(kept))
