"""What is told of every building of two dates, and the layer it is written to."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.writing.writer import FootprintWriter

Status = Literal["added", "removed", "changed", "unobserved", "appearing", "missing", "changing", "unchanged"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""What is told of a building, in the order of a report; appearing, missing and changing are not confirmed."""
CHANGES: tuple[Status, ...] = ("added", "removed", "changed")
"""Statuses that are a change."""

CHANGE_COLUMNS = {
    "building_id": np.object_,
    "status": np.object_,
    "kind": np.object_,
    "area_before_m2": np.float64,
    "area_after_m2": np.float64,
    "iou": np.float64,
    "shift_m": np.float64,
    "evidence": np.float64,
    "previous_ids": np.object_,
    "history": np.object_,
    "first_seen": np.object_,
    "last_seen": np.object_,
    "row_before": np.int64,
    "row_after": np.int64,
}
NO_ROW = -1
"""In `row_before` and `row_after`: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBatch:
    """Some buildings, and what became of them."""

    polygons: NDArray[np.object_]
    """(n,) where BEFORE would have drawn them: its own outline of what is gone or as it was, else AFTER's,
    moved back by the shift."""
    building_id: NDArray[np.object_]
    """(n,) str: stays with a building from date to date."""
    status: NDArray[np.object_]
    """(n,) one of `STATUSES`."""
    kind: NDArray[np.object_]
    """(n,) enlarged, reduced, reshaped, split or merged, of what has changed or may have; None else."""
    area_before_m2: NDArray[np.float64]
    """(n,) on the ground, of all buildings before that the row tells of; NaN where there are none."""
    area_after_m2: NDArray[np.float64]
    """(n,) likewise after."""
    iou: NDArray[np.float64]
    """(n,) of the ground before and after; NaN where there is only one of them."""
    shift_m: NDArray[np.float64]
    """(n,) how far AFTER was moved here; NaN where it shows nothing."""
    evidence: NDArray[np.float64]
    """(n,) of a building that only one date shows: the share of its ground that the other date had data on,
    0..1; NaN of others."""
    previous_ids: NDArray[np.object_]
    """(n,) str, separated by commas, or None: ids of what was split or merged."""
    history: NDArray[np.object_]
    """(n,) str: a letter for each of the last dates, see `history`."""
    first_seen: NDArray[np.object_]
    """(n,) str or None: date."""
    last_seen: NDArray[np.object_]
    """(n,) str or None: date."""
    row_before: NDArray[np.int64]
    """(n,) number of its polygon in BEFORE, from 0 in the order of the file; of several, the largest's;
    `NO_ROW` = none."""
    row_after: NDArray[np.int64]
    """(n,) likewise in AFTER."""
    before: NDArray[np.object_]
    """(n,) outline before, of several the largest's; None where there is none."""
    after: NDArray[np.object_]
    """(n,) likewise after, moved back by the shift."""
    dx: NDArray[np.float64]
    """(n,) how far AFTER lies to the right of BEFORE, in units of the CRS."""
    dy: NDArray[np.float64]
    """(n,) how far above."""

    def __len__(self) -> int:
        return len(self.polygons)

    @property
    def footprint_id(self) -> NDArray[np.int64]:
        """(n,) by which a row is named to the user if it is invalid."""
        return self.row_after

    def take(self, rows: NDArray[np.int64]) -> "ChangeBatch":
        """Give some of them, by index, in that order."""
        return ChangeBatch(**{field.name: getattr(self, field.name)[rows] for field in fields(ChangeBatch)})

    def only(self, statuses: tuple[Status, ...]) -> "ChangeBatch":
        """Give those of some statuses; all where none is named."""
        return self.take(np.flatnonzero(np.isin(self.status, statuses))) if statuses else self


class ChangeWriter(FootprintWriter):
    """A layer of changes in the making."""

    @property
    def columns(self) -> Mapping[str, type]:
        """Names of the columns, and what they hold."""
        return CHANGE_COLUMNS
