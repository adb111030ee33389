"""What a comparison of two dates gave, in a few numbers."""

from dataclasses import dataclass

import numpy as np
import shapely

from buildmap.changes.columns import CHANGES
from buildmap.changes.shifts import ShiftBlocks, ShiftField
from buildmap.vector.writing.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftSummary:
    """How far AFTER lies off BEFORE."""

    dx_m: float
    """To the right, of all blocks together."""
    dy_m: float
    """Upwards."""
    median_m: float
    """Length, over the blocks with pairs of their own; 0 where there is none."""
    max_m: float
    """Likewise."""
    blocks: dict[str, int]
    """How many have a shift of their own, of their neighbours', of all, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSummary:
    """What was found."""

    output: str
    """The file written."""
    layer: str
    """The layer in it."""
    crs: str
    """In which the layers were compared."""
    before: int
    """Buildings of the first date, those an earlier run found gone left out."""
    after: int
    """Of the second."""
    statuses: dict[str, int]
    """Rows by status."""
    kinds: dict[str, int]
    """Changed ones by kind."""
    area_added_m2: float
    """Ground of what is added."""
    area_removed_m2: float
    """Ground of what is removed."""
    shift: ShiftSummary
    """How far AFTER lies off BEFORE."""
    repaired: int
    """Geometries of both layers that were mended."""
    dropped: int
    """Rows of both layers that gave no polygon, or have no place in the CRS of the output."""
    seconds: float
    """Wall time."""

    @property
    def has_changes(self) -> bool:
        """Something was added, removed or changed."""
        return any(self.statuses[status] for status in CHANGES)


def shift_layer(blocks: ShiftBlocks, unit_m: float) -> Layer:
    """Draw the blocks, each with its shift.

    Args:
        blocks: In units of the working CRS.
        unit_m: Metres of such a unit.
    """
    return Layer(
        polygons=np.asarray(shapely.box(*blocks.box.T), np.object_),
        columns={
            "dx_m": blocks.dx * unit_m,
            "dy_m": blocks.dy * unit_m,
            "shift_m": np.hypot(blocks.dx, blocks.dy) * unit_m,
            "pairs": blocks.pairs,
            "spread_m": blocks.spread * unit_m,
            "source": blocks.source.astype(np.object_),
        },
    )


def summarize_shift(shift: ShiftField, unit_m: float) -> ShiftSummary:
    """Say in a few numbers how far AFTER lies off BEFORE; see `shift_layer`."""
    blocks = shift.blocks
    own = (np.hypot(blocks.dx, blocks.dy) * unit_m)[blocks.source == "own"]
    return ShiftSummary(
        dx_m=round(shift.overall[0] * unit_m, 3),
        dy_m=round(shift.overall[1] * unit_m, 3),
        median_m=round(float(np.median(own)), 3) if len(own) else 0.0,
        max_m=round(float(own.max(initial=0.0)), 3),
        blocks={
            source: int((blocks.source == source).sum()) for source in ("own", "neighbours", "all", "none")
        },
    )
