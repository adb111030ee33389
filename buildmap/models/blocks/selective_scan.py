"""The selective state space of Mamba (Gu and Dao 2023), in plain torch, linear in the sequence's length.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t        y_t = C_t h_t + D x_t

The sequence is cut into chunks. Those of a group advance together, a position at a time: once from nothing,
to learn what each adds to the state that enters it, and, when those states are known from chunk to chunk,
once more, from them. Gradients take the same way from the end to the beginning. Decays are numbers in 0..1,
multiplied, never divided, so nothing over- or underflows that would not in the recurrence itself. States
are there for a group at a time; kept for the gradient are only those that enter chunks.

Glossary: B batch, L length, E channels, N states a channel; M chunks a group, T positions a chunk;
A (E, N) negative decay rates; B_t, C_t (N) and delta_t (E) depend on the input; R rank of delta's projection.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.autograd.function import once_differentiable

from buildmap.models.blocks.precision import full_precision

_CHUNK = 64
"""T, positions to a chunk."""
_CPU_STATES, _GPU_STATES = 2**20, 2**23
"""Numbers in a group's states: of a batch, as a CPU's cache holds; of a sequence, as occupy a GPU."""
_DELTA_MIN, _DELTA_MAX = 1e-3, 1e-1
"""Range of delta at the start."""


def selective_scan(
    x: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
) -> Tensor:
    """Run the state space over a sequence.

    Computed in single precision where the input has half, autocast or not. Gradients have no gradients.

    Args:
        x: (B, L, E).
        delta: (B, L, E), positive.
        a: (E, N), negative.
        b: (B, L, N).
        c: (B, L, N).
        d: (E).

    Returns:
        (B, L, E), in the precision of x.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    run = _scan_exported if torch.compiler.is_exporting() else _Scan.apply
    with full_precision(x):
        y: Tensor = run(x, delta, a.to(precise), b, c)
        return torch.addcmul(y, x.to(precise), d.to(precise)).to(x.dtype)


class _Scan(torch.autograd.Function):
    """C_t h_t, from group to group, and its gradients, from the last group to the first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        rates = a.T.contiguous()
        y = rates.new_empty(x.shape)
        ctx.groups, entering = _groups(x, rates), []
        state = rates.new_zeros(len(x), *rates.shape)
        for group in ctx.groups:
            parts = [_cut(part[:, group].to(a.dtype)) for part in (x, delta, b, c)]
            outputs, before, state = _scan_group(parts, rates, state)
            _join(outputs, y[:, group])
            entering.append(before)
        ctx.save_for_backward(x, delta, a, b, c, *entering)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor, ...]:
        x, delta, a, b, c, *entering = ctx.saved_tensors
        gradients = [torch.empty_like(part) for part in (x, delta, b, c)]
        rates = a.T.contiguous()
        to_rates, q = torch.zeros_like(rates), rates.new_zeros(len(x), *rates.shape)
        with full_precision(x):
            for group, before in zip(reversed(ctx.groups), reversed(entering), strict=True):
                parts = [_cut(part[:, group].to(a.dtype)) for part in (x, delta, b, c, *pulls)]
                to_parts, more, q = _pull_group(parts, rates, before, q)
                to_rates += more
                for part, gradient in zip(to_parts, gradients, strict=True):
                    _join(part, gradient[:, group])
        to_x, to_delta, to_b, to_c = gradients
        return to_x, to_delta, to_rates.T, to_b, to_c


def _scan_group(parts: Sequence[Tensor], rates: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take a group on.

    Args:
        parts: x, delta, B and C, (T, B, M, E or N) each.
        rates: A, (N, E).
        state: h before the group, (B, N, E).

    Returns:
        Outputs (T, B, M, E); h before each chunk, (B, M, N, E), and after the group.
    """
    x, delta, b, c = parts
    decay = _decay(delta, rates)
    states = _room_for_states(decay)
    _outer(delta * x, b, out=states[1:])
    after = _enter(states, decay, _decay(delta.sum(0), rates), state)
    _advance(states, decay)
    return _over_states(c, states[1:]), states[0].clone(), after


def _pull_group(
    parts: Sequence[Tensor], rates: Tensor, entering: Tensor, after: Tensor
) -> tuple[Sequence[Tensor], Tensor, Tensor]:
    """Give a group's gradients.

    The gradient of h_t is g_t = C_t dy_t + q_(t+1), where q_t = exp(delta_t A) g_t runs backwards as h_t runs
    forwards; that of the exponent is q_t h_(t-1).

    Args:
        parts: x, delta, B, C and dy, (T, B, M, E or N) each.
        rates: A, (N, E).
        entering: h before each chunk, (B, M, N, E).
        after: q after the group, (B, N, E).

    Returns:
        Gradients of x, delta, B and C, that of the rates, and q at the group's beginning.
    """
    x, delta, b, c, dy = parts
    dx = delta * x
    decay = _decay(delta, rates)
    states, pulls = _room_for_states(decay), _room_for_states(decay)
    states[0] = entering
    _outer(dx, b, out=states[1:])
    _advance(states, decay)
    _outer(dy, c, out=pulls[:-1]).mul_(decay)
    before = _enter(pulls, decay, _decay(delta.sum(0), rates), after, back=True)
    _advance(pulls, decay, back=True)
    to_dx = _over_states(b, pulls[1:]) + (b * c).sum(-1, keepdim=True) * dy
    to_b = _over_channels(pulls[1:], dx) + (dx * dy).sum(-1, keepdim=True) * c
    to_c = _over_channels(states[1:], dy)
    to_exponent = pulls[:-1].mul_(states[:-1])
    to_delta = torch.mul(to_exponent, rates, out=decay).sum(-2) + to_dx * x
    to_rates = to_exponent.mul_(delta[..., None, :]).sum((0, 1, 2))
    return (to_dx * delta, to_delta, to_b, to_c), to_rates, before


def _groups(x: Tensor, rates: Tensor) -> list[slice]:
    """Cut the length into whole chunks, whose states are as many as the device likes, and a rest."""
    wanted = _CPU_STATES // len(x) if x.device.type == "cpu" else _GPU_STATES
    size = _CHUNK * max(1, wanted // (_CHUNK * rates.numel()))
    return [slice(start, min(start + size, x.shape[1])) for start in range(0, x.shape[1], size)]


def _cut(part: Tensor, more: int = 0) -> Tensor:
    """Cut (B, length, F) into (T, B, M, F), filled with zeros, which neither decay nor add."""
    filled = F.pad(part, (0, 0, 0, -part.shape[1] % _CHUNK + more))
    return filled.view(len(part), -1, _CHUNK, part.shape[2]).movedim(2, 0).contiguous()


def _join(part: Tensor, into: Tensor) -> None:
    """Undo `_cut`."""
    into.copy_(part.movedim(0, 2).flatten(1, 2)[:, : into.shape[1]])


def _decay(delta: Tensor, rates: Tensor) -> Tensor:
    return (delta[..., None, :] * rates).exp_()


def _room_for_states(decay: Tensor) -> Tensor:
    """Make room, (T + 1, B, M, N, E), for the states before and after every position."""
    return decay.new_empty(len(decay) + 1, *decay.shape[1:])


def _outer(channels: Tensor, states: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.mul(channels[..., None, :], states[..., None], out=out)


def _over_states(weights: Tensor, states: Tensor) -> Tensor:
    return (weights[..., None, :] @ states)[..., 0, :]


def _over_channels(states: Tensor, weights: Tensor) -> Tensor:
    return (states @ weights[..., None])[..., 0]


def _enter(states: Tensor, decay: Tensor, kept: Tensor, state: Tensor, *, back: bool = False) -> Tensor:
    """Fill in the states that enter the chunks.

    Args:
        states: (T + 1, B, M, N, E): room for what enters, then what each position adds.
        decay: Of each position, (T, B, M, N, E).
        kept: Decay of each chunk, (B, M, N, E).
        state: Enters the first chunk, (B, N, E).
        back: From the end to the beginning.

    Returns:
        What leaves the last chunk, (B, N, E).
    """
    way = -1 if back else 1
    room, end, *added = states.unbind()[::way]
    for more, decayed in zip(added, decay.unbind()[::way][1:], strict=True):
        end = torch.addcmul(more, decayed, end)
    entering = []
    for more, decayed in zip(end.unbind(1)[::way], kept.unbind(1)[::way], strict=True):
        entering.append(state)
        state = torch.addcmul(more, decayed, state)
    torch.stack(entering[::way], 1, out=room)
    return state


def _advance(states: Tensor, decay: Tensor, *, back: bool = False) -> None:
    """Turn what each position adds into the state after it; shapes are those of `_enter`."""
    way = -1 if back else 1
    before, *after = states.unbind()[::way]
    for state, decayed in zip(after, decay.unbind()[::way], strict=True):
        before = state.addcmul_(decayed, before)


def _scan_exported(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Compute C_t h_t with loops of the graph, where steps written out would be thousands of nodes.

    torch cannot yet export the gradient of a loop over lengths it does not know.
    """
    rates = a.detach().T.contiguous()

    def step(state: Tensor, position: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        dx, delta, b, c = position
        state = torch.addcmul(_outer(dx, b), _decay(delta, rates), state)
        return state, _over_states(c, state)

    # A chunk more than needed: an exporter takes a lone one for a constant.
    parts = tuple(_cut(part.detach().to(a.dtype), _CHUNK) for part in (delta * x, delta, b, c))
    added, _ = scan(step, torch.zeros_like(_outer(parts[0][0], parts[2][0])), parts)
    chunks = _decay(parts[1].sum(0), rates).movedim(1, 0), added.movedim(1, 0)
    _, entering = scan(_chunk_exported, torch.zeros_like(chunks[0][0]), chunks)
    _, outputs = scan(step, entering.movedim(0, 1).contiguous(), parts)
    y: Tensor = outputs.movedim(0, 2).flatten(1, 2)[:, : x.shape[1]]
    return y


def _chunk_exported(state: Tensor, chunk: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    kept, more = chunk
    # A loop in a graph may not hand on what it was handed.
    return torch.addcmul(more, kept, state), state.clone()


class Mamba(nn.Module):
    """The block around the scan (Gu and Dao 2023, figure 3): convolution, selection, scan and gate."""

    def __init__(self, channels: int, *, states: int = 16, kernel: int = 4, expansion: int = 2) -> None:
        """Make the projections.

        Args:
            channels: Of the input and of the output.
            states: N, of each inner channel.
            kernel: Positions the causal convolution sees.
            expansion: Inner channels per channel.
        """
        super().__init__()
        inner, rank = expansion * channels, math.ceil(channels / 16)
        self.sizes = (rank, states, states)
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.select = nn.Linear(inner, rank + 2 * states, bias=False)
        self.delta = nn.Linear(rank, inner)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)
        self._start_delta(rank)

    def _start_delta(self, rank: int) -> None:
        """Spread softplus(bias) log-uniformly over the usual range (Gu and Dao 2023, section 3.6)."""
        nn.init.uniform_(self.delta.weight, -(rank**-0.5), rank**-0.5)
        low, high = math.log(_DELTA_MIN), math.log(_DELTA_MAX)
        with torch.no_grad():
            start = torch.exp(low + (high - low) * torch.rand_like(self.delta.bias))
            self.delta.bias.copy_(start + torch.log(-torch.expm1(-start)))  # softplus, inverted

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, channels) to the same shape; a position sees itself and those before."""
        length = x.shape[1]
        sequence, gate = self.enter(x).chunk(2, -1)
        sequence = F.silu(self.conv(sequence.transpose(1, 2))[..., :length].transpose(1, 2))
        low_rank, b, c = self.select(sequence).split(self.sizes, -1)
        # Softplus in half precision would round small deltas away.
        delta = F.softplus(self.delta(low_rank).float() if x.dtype != torch.float64 else self.delta(low_rank))
        y = selective_scan(sequence, delta, -torch.exp(self.log_rate), b, c, self.skip)
        out: Tensor = self.leave(y * F.silu(gate))
        return out
