"""The selective state space of Mamba (Gu and Dao 2023), in plain torch, linear in the sequence's length.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t        y_t = C_t h_t + D x_t

The sequence is cut into chunks of `_CHUNK` positions. All chunks advance together, a position at a time:
once from nothing, to learn what each adds to the state that enters it, and, when those states are known
from chunk to chunk, once more for the outputs. Decays are numbers in 0..1, multiplied, never divided, so
nothing over- or underflows that would not in the recurrence itself, and no tensor has length x channels x
states numbers. In an exported graph the loops are loops, so any length runs in one graph.

Glossary: B batch, L length, E channels, N states a channel; A (E, N) negative decay rates; B_t, C_t (N)
and delta_t (E) depend on the input; R rank of delta's projection.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.utils.checkpoint import checkpoint

_CHUNK = 64
"""Positions to a chunk."""
_STRIDE = 8
"""Positions between two states kept for the gradient; those between are computed again."""
_DELTA_MIN, _DELTA_MAX = 1e-3, 1e-1
"""Range of delta at the start."""

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def selective_scan(
    x: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
) -> Tensor:
    """Run the state space over a sequence.

    Computed in single precision where the input has half, autocast or not.

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
    length = x.shape[1]
    precise = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        full = [_chunked(part.to(precise)) for part in (x, delta, b, c)]
        y = _scan(full[0] * full[1], full[1], a.to(precise), full[2], full[3])
        return (y.flatten(1, 2)[:, :length] + x * d.to(precise)).to(x.dtype)


def _chunked(part: Tensor) -> Tensor:
    """Cut (B, L, F) into (B, M, T, F), filled with zeros, which neither decay nor add."""
    filled = F.pad(part, (0, 0, 0, _fill(part.shape[1])))
    return filled.view(part.shape[0], -1, _CHUNK, part.shape[2])


def _fill(length: int) -> int:
    """Complete the last chunk, and add one: an exporter takes a lone one for a constant."""
    return _CHUNK + -length % _CHUNK


def _scan(dx: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Scan chunks (B, M, T, E or N) into outputs (B, M, T, E); dx is delta x."""
    advance = _advance_exported if torch.compiler.is_exporting() else _advance_in_strides
    parts = (dx.movedim(2, 0), delta.movedim(2, 0), b.movedim(2, 0), c.movedim(2, 0))
    nothing = torch.zeros_like(dx[:, :, 0, :, None] * a)
    added, _ = advance(nothing, parts, a)
    entering = _entering(torch.exp(delta.sum(2)[..., None] * a), added)
    _, outputs = advance(entering, parts, a)
    return outputs.movedim(0, 2)


def _advance(state: Tensor, parts: Parts, a: Tensor) -> tuple[Tensor, Tensor]:
    """Take all chunks on, a position at a time.

    Args:
        state: (B, M, E, N).
        parts: delta x, delta, B and C, (T, B, M, E or N) each.
        a: (E, N).

    Returns:
        The state after the last position, and outputs (T, B, M, E).
    """
    outputs = []
    for position in zip(*parts, strict=True):
        state, output = _step(state, position, a)
        outputs.append(output)
    return state, torch.stack(outputs)


def _step(state: Tensor, position: Sequence[Tensor], a: Tensor) -> tuple[Tensor, Tensor]:
    dx, delta, b, c = position
    state = torch.addcmul(dx[..., None] * b[..., None, :], torch.exp(delta[..., None] * a), state)
    return state, (state @ c[..., None])[..., 0]


def _advance_in_strides(state: Tensor, parts: Parts, a: Tensor) -> tuple[Tensor, Tensor]:
    """Advance, keeping a state every `_STRIDE` positions for the gradient."""
    advance = _advance
    if torch.is_grad_enabled():
        advance = partial(checkpoint, _advance, use_reentrant=False, preserve_rng_state=False)
    outputs = []
    for start in range(0, _CHUNK, _STRIDE):
        dx, delta, b, c = (part[start : start + _STRIDE] for part in parts)
        state, output = advance(state, (dx, delta, b, c), a)
        outputs.append(output)
    return state, torch.cat(outputs)


def _advance_exported(state: Tensor, parts: Parts, a: Tensor) -> tuple[Tensor, Tensor]:
    """Advance as one loop of the graph, where `_CHUNK` steps written out would be thousands of nodes."""

    def step(carried: Tensor, position: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return _step(carried, position, rates)

    # torch cannot yet export the gradient of a loop over lengths it does not know.
    rates = a.detach()
    after, outputs = scan(step, state.detach(), tuple(part.detach() for part in parts))
    return after, outputs


def _entering(decay: Tensor, added: Tensor) -> Tensor:
    """Give the state that enters each chunk, (B, M, E, N), from what each keeps of it and adds to it."""
    chunks = decay.movedim(1, 0), added.movedim(1, 0)
    state = torch.zeros_like(added[:, 0])
    if torch.compiler.is_exporting():
        states: Tensor = scan(_chunk_exported, state.detach(), tuple(part.detach() for part in chunks))[1]
        return states.movedim(0, 1).contiguous()
    entering = []
    for kept, more in zip(*chunks, strict=True):
        entering.append(state)
        state = torch.addcmul(more, kept, state)
    return torch.stack(entering, 1)


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
