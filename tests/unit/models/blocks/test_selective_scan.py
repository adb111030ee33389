"""The chunked scan against the recurrence, a position at a time in double precision.

Exported, it is compared in the tests of the branch that it is in.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

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


def draw(length: int, *, delta: float = 0.05, channels: int = 3, states: int = 4) -> Arguments:
    """Make arguments for two sequences."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    step = delta * normal(2, length, channels).exp()
    return (
        normal(2, length, channels),
        step,
        -normal(channels, states).exp(),
        normal(2, length, states),
        normal(2, length, states),
        normal(channels),
    )


def gradients(scan: Callable[..., Tensor], arguments: Iterable[Tensor]) -> list[Tensor]:
    """Give all six, of outputs weighted at random."""
    leaves = [argument.detach().requires_grad_() for argument in arguments]
    y = scan(*leaves)
    weights = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad(y, leaves, weights.to(y.dtype)))


def assert_all_close(ours: Iterable[Tensor], expected: Iterable[Tensor], **tolerances: float) -> None:
    for got, true in zip(ours, expected, strict=True):
        scale = float(true.abs().max())
        torch.testing.assert_close(got.double() / scale, true.double() / scale, **tolerances)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 700, 4500])
def test_equals_the_recurrence(length: int) -> None:
    torch.testing.assert_close(selective_scan(*draw(length)), recurrence(*draw(length)))


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 300])
def test_all_gradients_equal_the_recurrence_s(length: int) -> None:
    arguments = draw(length)
    for got, true in zip(gradients(selective_scan, arguments), gradients(recurrence, arguments), strict=True):
        torch.testing.assert_close(got, true)


def test_so_they_do_at_the_network_s_width_which_takes_several_groups_of_chunks() -> None:
    arguments = draw(450, channels=160, states=16)
    torch.testing.assert_close(selective_scan(*arguments), recurrence(*arguments))
    for got, true in zip(gradients(selective_scan, arguments), gradients(recurrence, arguments), strict=True):
        torch.testing.assert_close(got, true)


def test_all_gradients_equal_finite_differences() -> None:
    few = [argument.requires_grad_() for argument in draw(3, channels=2, states=2)]
    assert torch.autograd.gradcheck(selective_scan, few)
    some = [argument.requires_grad_() for argument in draw(67, channels=2, states=2)]
    assert torch.autograd.gradcheck(selective_scan, some, fast_mode=True)


def test_a_gradient_s_gradient_is_refused() -> None:
    arguments = [argument.requires_grad_() for argument in draw(3)]
    loss = selective_scan(*arguments).square().sum()
    (first,) = torch.autograd.grad(loss, arguments[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_sequences_stored_position_last_are_the_same() -> None:
    arguments = draw(100)
    stored = [part.mT.contiguous().mT if part.dim() == 3 else part for part in arguments]
    assert not stored[0].is_contiguous()
    assert torch.equal(selective_scan(*stored), selective_scan(*arguments))
    assert_all_close(gradients(selective_scan, stored), gradients(selective_scan, arguments), rtol=0, atol=0)


def test_slow_decay_carries_a_beginning_through_many_chunks_to_the_end() -> None:
    length = 64 * 20 + 10
    x = torch.zeros(1, length, 1, dtype=torch.float64)
    x[0, 0] = 1
    ones = torch.ones(1, length, 1, dtype=torch.float64)
    rate = torch.full((1, 1), -1e-4, dtype=torch.float64)
    y = selective_scan(x, ones, rate, ones, ones, torch.zeros(1))
    torch.testing.assert_close(y[0, :, 0], torch.exp(-1e-4 * torch.arange(length, dtype=torch.float64)))


@pytest.mark.parametrize("delta", [0.0, 1e-30, 1e-4, 1.0, 300.0, 1e6])
def test_single_precision_is_stable_however_fast_states_decay(delta: float) -> None:
    arguments = draw(300, delta=delta)
    single = [argument.float() for argument in arguments]
    expected = recurrence(*arguments)
    assert_all_close([selective_scan(*single)], [expected], rtol=1e-4, atol=1e-5)
    ours, true = gradients(selective_scan, single), gradients(recurrence, arguments)
    for got, wanted in zip(ours, true, strict=True):
        assert got.isfinite().all()
        torch.testing.assert_close(
            got.double(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()) + 1e-37
        )


@pytest.mark.parametrize("rate", [0.0, -1e-30, -1e30])
def test_single_precision_is_stable_at_rates_without_decay_and_without_memory(rate: float) -> None:
    x, delta, a, b, c, d = draw(300)
    arguments = (x, delta, torch.full_like(a, rate).float().double(), b, c, d)
    single = [argument.float() for argument in arguments]
    assert_all_close([selective_scan(*single)], [recurrence(*arguments)], rtol=1e-4, atol=1e-5)
    ours, true = gradients(selective_scan, single), gradients(recurrence, arguments)
    for got, wanted in zip(ours, true, strict=True):
        assert got.isfinite().all()
        torch.testing.assert_close(got.double(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_half_precision_is_computed_in_single_also_under_autocast() -> None:
    half = [argument.bfloat16() for argument in draw(200)]
    exact = [argument.double() for argument in half]
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(*half)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), recurrence(*exact), rtol=2**-8, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(selective_scan, half)
    assert all(gradient.dtype == torch.bfloat16 for gradient in ours)
    # The gradient of x is a sum of two in half precision.
    expected = gradients(lambda *of: recurrence(*of).bfloat16(), exact)
    assert_all_close(ours, expected, rtol=2**-7, atol=2**-10)


def test_autocast_changes_nothing_in_single_precision() -> None:
    arguments = [argument.float() for argument in draw(200)]
    outside = gradients(selective_scan, arguments)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradients(selective_scan, arguments)
    assert all(torch.equal(one, other) for one, other in zip(inside, outside, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_it_is_the_same(mode: Any) -> None:
    arguments = [argument.requires_grad_() for argument in draw(100)]
    with mode():
        y = selective_scan(*arguments)
    assert not y.requires_grad
    assert torch.equal(y, selective_scan(*arguments))


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_from_a_checkpoint_gradients_are_the_same(reentrant: bool) -> None:
    def again(*arguments: Tensor) -> Tensor:
        y: Tensor = checkpoint(selective_scan, *arguments, use_reentrant=reentrant)
        return y

    def backward(scan: Callable[..., Tensor]) -> list[Tensor | None]:
        leaves = [argument.requires_grad_() for argument in draw(100)]
        scan(*leaves).square().sum().backward()
        return [leaf.grad for leaf in leaves]

    for one, other in zip(backward(again), backward(selective_scan), strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


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

        leaves = [argument.float().requires_grad_() for argument in draw(length, channels=32, states=16)]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            selective_scan(*leaves)
        given = sum(leaf.untyped_storage().nbytes() for leaf in leaves)
        kept.append(sum(sizes.values()))
        assert kept[-1] - given < 2 * length * 32 * 16 * 4 / 60
    assert all(later < 2.2 * earlier for earlier, later in pairwise(kept))


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.numbers = max([self.numbers, *made])
        return out


def test_no_tensor_has_all_states_neither_forwards_nor_backwards() -> None:
    length = 3000
    leaves = [argument.float().requires_grad_() for argument in draw(length, channels=40, states=32)]
    with _Largest() as forwards:
        loss = selective_scan(*leaves).sum()
    with _Largest() as backwards:
        loss.backward()
    every = 2 * length * 40 * 32
    assert 2 * length * 40 <= forwards.numbers < every / 5
    assert 2 * length * 40 <= backwards.numbers < every / 5


def test_every_product_with_a_state_is_counted_once_and_needs_no_values() -> None:
    arguments = [argument.to("meta") for argument in draw(640, channels=32, states=16)]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert selective_scan(*arguments).shape == (2, 640, 32)
    assert counter.get_total_flops() == 2 * (2 * 640 * 32 * 16)
