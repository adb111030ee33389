"""Footprints that are drawn but not yet on the map: in pixels, with what they were drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

ALONE = -1
"""Group of a footprint that shares no wall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Some footprints, sorted by the last row of their component, its first corner, and their own."""

    polygons: NDArray[np.object_]
    """(n,) valid, in pixel corners of the raster (column, row)."""
    raw: NDArray[np.object_]
    """(n,) valid exact outlines with small holes filled: what a footprint falls back to."""
    order: NDArray[np.int64]
    """(n, 5) last row, first row and first column of the component, then first row and column of its own."""
    confidence: NDArray[np.float64]
    """(n,) mean probability of the pixels, 0..1."""
    edge_certainty: NDArray[np.float64]
    """(n,) mean step of probability across the outline, 0..1."""
    pixel_m: NDArray[np.float64]
    """(n,) side of a pixel on the ground; of one unit of the polygons, where they are in no pixels."""
    method: NDArray[np.str_]
    """(n,) how it was drawn: 'raw', 'simplify', 'paper', 'adaptive', 'circle' or 'coverage'."""
    iou_raw: NDArray[np.float64]
    """(n,) IoU with `raw`."""
    max_shift_m: NDArray[np.float64]
    """(n,) greatest distance between a corner of the one and the outline of the other, on the ground."""

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Drawn":
        """Give some of them, by number or by mask, in that order."""
        return Drawn(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def in_order(self) -> "Drawn":
        """Sort by `order`."""
        return self.take(np.lexsort(self.order.T[::-1]))


def join(parts: Sequence[Drawn]) -> Drawn:
    """Put footprints behind each other.

    Raises:
        ValueError: If there are no parts.
    """
    return Drawn(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Drawn)
        }
    )


def members(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """List who shares walls.

    Args:
        group: (n,) equal for those that share walls, ALONE for one that shares none.

    Returns:
        For each group, ascending, the numbers of its members, ascending.
    """
    together = np.flatnonzero(group != ALONE)
    if not len(together):
        return []
    together = together[np.argsort(group[together], kind="stable")]
    return np.split(together, np.flatnonzero(np.diff(group[together])) + 1)
