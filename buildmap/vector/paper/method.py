"""The method 'paper' over a raster of any size: thresholds of the contours first, then the chain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.drawn import Drawn
from buildmap.vector.fitting.guard import closeness
from buildmap.vector.paper.chain import RAW, PaperSteps, paper_outlines
from buildmap.vector.paper.kinds import MeasureSketches, Thresholds, thresholds, thresholds_of_sketches
from buildmap.vector.paper.measures import ContourMeasures, measure

EXACT_MAX = 2_000_000
"""Contours of which every measure is held; the quantiles of more are found in sketches."""

Block = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperLimits:
    """Which contours count as complex or noisy, in each block of the raster."""

    by_block: dict[Block, Thresholds]
    """By row and column of blocks."""
    block_px: int | None
    """Side of a block; None where the whole raster is one."""


def find_limits(batches: Iterable[Drawn], *, block_px: int | None, exact_max: int = EXACT_MAX) -> PaperLimits:
    """Find the thresholds of a raster, or of each block of it (HR-Mamba, section 2.6).

    They are exact quantiles up to `exact_max` contours in all, and beyond that to
    `quantiles.RELATIVE_ERROR`, in memory that follows the number of blocks.

    Args:
        batches: All footprints, raw.
        block_px: Side of a block, to which a footprint belongs with the first corner of its component; all
            footprints belong together when None.
        exact_max: Contours held.
    """
    held: dict[Block, list[ContourMeasures]] = {}
    sketches: dict[Block, MeasureSketches] = {}
    count = 0
    for drawn in batches:
        for block, members in _by_block(drawn, block_px):
            held.setdefault(block, []).append(measure(drawn.raw[members]))
            count += len(members)
        if count > exact_max:
            _sketch(held, sketches)
    if count > exact_max:
        limits = {block: thresholds_of_sketches(found) for block, found in sketches.items()}
    else:
        limits = {block: thresholds(_joined(parts)) for block, parts in held.items()}
    return PaperLimits(by_block=limits, block_px=block_px)


def redraw(drawn: Drawn, limits: PaperLimits) -> Iterator[tuple[Drawn, PaperSteps]]:
    """Take footprints through the chain; give them block by block, with what every step made.

    Args:
        drawn: Raw; pixels count as square.
        limits: Of the blocks they are in.
    """
    for block, members in _by_block(drawn, limits.block_px):
        part = drawn.take(members)
        steps = paper_outlines(part.raw, limits.by_block[block])
        is_raw = steps.rolled_back == RAW
        redrawn = replace(
            part,
            polygons=steps.final,
            method=np.where(is_raw, "raw", "paper"),
            iou_raw=steps.iou_raw,
            max_shift_m=np.where(is_raw, 0.0, closeness(steps.final, part.raw).shift_px * part.pixel_m),
        )
        yield redrawn, steps


def _by_block(drawn: Drawn, block_px: int | None) -> Iterator[tuple[Block, NDArray[np.int64]]]:
    """Give the members of each block there is, ascending."""
    rows_cols = drawn.order[:, 1:3] // block_px if block_px else np.zeros((len(drawn), 2), np.int64)
    blocks, number = np.unique(rows_cols, axis=0, return_inverse=True)
    for block, (row, col) in enumerate(blocks.tolist()):
        yield (row, col), np.flatnonzero(number.ravel() == block)


def _sketch(held: dict[Block, list[ContourMeasures]], sketches: dict[Block, MeasureSketches]) -> None:
    """Move what is held into sketches."""
    for block, parts in held.items():
        found = MeasureSketches.of(_joined(parts))
        sketches[block] = sketches[block] + found if block in sketches else found
    held.clear()


def _joined(parts: list[ContourMeasures]) -> ContourMeasures:
    return ContourMeasures(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(ContourMeasures)
        }
    )
