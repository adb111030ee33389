"""The rows of a change that tell most, and where the others are: kept while batches stream by."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from buildmap.changes.columns import STATUSES
from buildmap.changes.density import Density, Overview

_CELL = 500.0


class ChangeRows(Protocol):
    """Rows of a change, (n,) each."""

    @property
    def polygons(self) -> NDArray[np.object_]:
        """What is written, in the working CRS."""

    @property
    def building_id(self) -> NDArray[np.object_]:
        """Texts."""

    @property
    def status(self) -> NDArray[np.object_]:
        """One of `STATUSES`."""

    @property
    def kind(self) -> NDArray[np.object_]:
        """How it changed, or None."""

    @property
    def area_before_m2(self) -> NDArray[np.float64]:
        """NaN where there was none."""

    @property
    def area_after_m2(self) -> NDArray[np.float64]:
        """NaN where there is none."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """Of the two dates, 0..1; NaN where there is only one."""

    @property
    def shift_m(self) -> NDArray[np.float64]:
        """How far AFTER lies off BEFORE here; NaN where nobody knows."""

    @property
    def dx(self) -> NDArray[np.float64]:
        """How far AFTER lies to the right of BEFORE here, in CRS units; NaN where nobody knows."""

    @property
    def dy(self) -> NDArray[np.float64]:
        """How far it lies above, in CRS units; NaN where nobody knows."""

    @property
    def before(self) -> NDArray[np.object_]:
        """Polygon of the first date in the working CRS, or None."""

    @property
    def after(self) -> NDArray[np.object_]:
        """Polygon of the second date, moved back by the shift, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row that tells much."""

    building_id: str
    """As in the layer."""
    status: str
    """One of `STATUSES`."""
    kind: str | None
    """How it changed."""
    area_before_m2: float
    """NaN where there was none."""
    area_after_m2: float
    """NaN where there is none."""
    iou: float
    """Of the two dates, 0..1; NaN where there is only one."""
    shift_m: float
    """How far AFTER lies off BEFORE; NaN where nobody knows."""
    shift: tuple[float, float]
    """The same, right and up in CRS units; (0, 0) where nobody knows."""
    polygon: BaseGeometry
    """What is written, in the working CRS."""
    before: BaseGeometry | None
    """Of the first date in the working CRS."""
    after: BaseGeometry | None
    """Of the second date, moved back by the shift."""


class _Ranked(NamedTuple):
    """An example and its rank: the least comes first, and no two different rows are equal."""

    rank: tuple[float, str, bytes]
    example: Example


class Examples:
    """Keeps the most telling rows of each status: those where most ground was gained or lost.

    No square cell gives a second example of a status while there are others, so that one town does not fill
    the page. Of equal rows that with the lesser `building_id` comes first. What is kept is bounded, and
    does not depend on the cut into batches or on their order.
    """

    def __init__(self, per_status: int = 12, cell: float = _CELL) -> None:
        """Keep none yet.

        Args:
            per_status: Most examples of each status.
            cell: Side of a cell in CRS units; cells lie on a lattice through the origin.

        Raises:
            ValueError: If nothing is to be kept, or a cell has no size.
        """
        if per_status < 1 or not cell > 0:
            raise ValueError(f"{per_status} examples in cells of {cell}")
        self._cell = cell
        self._density = Density(len(STATUSES))
        self._podiums = [_Podium(per_status) for _ in STATUSES]

    def add(self, rows: ChangeRows) -> None:
        """Take a batch of rows; one without a place is left out.

        Raises:
            ValueError: If one has a status that is none.
        """
        if unknown := set(rows.status) - set(STATUSES):
            raise ValueError(f"no status: {', '.join(sorted(map(str, unknown)))}")
        corners = shapely.bounds(rows.polygons).reshape(-1, 4)
        centre = (corners[:, :2] + corners[:, 2:]) / 2
        placed = np.isfinite(centre).all(axis=1)
        number = np.select([rows.status == status for status in STATUSES], np.arange(len(STATUSES)), -1)
        self._density.add(centre[placed], number[placed])
        cells = np.floor(centre / self._cell)
        changed = changed_m2(rows)
        for index, podium in enumerate(self._podiums):
            some = np.flatnonzero(placed & (number == index))
            for row in some[np.argsort(-changed[some], kind="stable")]:
                if changed[row] < podium.least:
                    break
                podium.offer(
                    float(changed[row]), (float(cells[row, 0]), float(cells[row, 1])), rows, int(row)
                )

    @property
    def examples(self) -> list[Example]:
        """What is kept, status by status in the order of `STATUSES`, the most telling of each first."""
        return [example for podium in self._podiums for example in podium.examples()]

    @property
    def overview(self) -> Overview:
        """How many rows of each of `STATUSES` are where."""
        return self._density.overview


class _Podium:
    """The first rows of one status: the best of each cell, and, in case there are few cells, of all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_cells: dict[tuple[float, float], _Ranked] = {}
        self._of_all: list[_Ranked] = []
        self._last: _Ranked | None = None
        self.least = -np.inf
        """What has changed less, in m2, has no chance any more."""

    def offer(self, changed: float, cell: tuple[float, float], rows: ChangeRows, row: int) -> None:
        """Take a row if it belongs to the first."""
        rank = (-changed, str(rows.building_id[row]), b"")
        best = self._of_cells.get(cell)
        rival, has_room = best or self._last, len(self._of_all) < self._most
        may_lead = rival is None or rank[:2] <= rival.rank[:2]
        if not (may_lead or has_room or rank[:2] <= self._of_all[-1].rank[:2]):
            return
        ranked = _Ranked((*rank[:2], rows.polygons[row].wkb), _example(rows, row))
        if best is None or ranked.rank < best.rank:
            self._of_cells[cell] = ranked
        insort(self._of_all, ranked, key=lambda one: one.rank)
        del self._of_all[self._most :]
        self._trim()

    def examples(self) -> list[Example]:
        """Give the best of each cell, and where they are few the best of the others, in their order."""
        chosen = sorted(self._of_cells.values(), key=lambda one: one.rank)
        ranks = {one.rank for one in chosen}
        others = [one for one in self._of_all if one.rank not in ranks]
        filled = chosen + others[: self._most - len(chosen)]
        return [one.example for one in sorted(filled, key=lambda one: one.rank)]

    def _trim(self) -> None:
        """Forget the cells that cannot come first any more."""
        if len(self._of_cells) > self._most:
            del self._of_cells[max(self._of_cells, key=lambda cell: self._of_cells[cell].rank)]
        if len(self._of_cells) == self._most:
            self._last = max(self._of_cells.values(), key=lambda one: one.rank)
            self.least = -self._last.rank[0]


def changed_m2(rows: ChangeRows) -> NDArray[np.float64]:
    """Give (n,) how much ground each row has gained and lost together, in m2."""
    both = np.nan_to_num(rows.area_before_m2) + np.nan_to_num(rows.area_after_m2)
    iou = np.nan_to_num(rows.iou)
    return np.asarray(both * (1 - iou) / (1 + iou))


def by_status(examples: list[Example]) -> Iterator[tuple[str, list[Example]]]:
    """Part examples into those of each status, in the order of `STATUSES`; one without any is absent."""
    for status in STATUSES:
        if some := [example for example in examples if example.status == status]:
            yield status, some


def _example(rows: ChangeRows, row: int) -> Example:
    kind = rows.kind[row]
    dx, dy = np.nan_to_num([rows.dx[row], rows.dy[row]])
    return Example(
        building_id=str(rows.building_id[row]),
        status=str(rows.status[row]),
        kind=None if kind is None else str(kind),
        area_before_m2=float(rows.area_before_m2[row]),
        area_after_m2=float(rows.area_after_m2[row]),
        iou=float(rows.iou[row]),
        shift_m=float(rows.shift_m[row]),
        shift=(float(dx), float(dy)),
        polygon=rows.polygons[row],
        before=rows.before[row],
        after=rows.after[row],
    )
