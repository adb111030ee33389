"""How many rows there are of each status and kind, and their ground."""

from collections import defaultdict

import numpy as np

from buildmap.changes.columns import STATUSES, ChangeBatch
from buildmap.changes.findings import StatusCount

_Label = tuple[str, str | None]


class Tally:
    """Counts rows as they stream by."""

    def __init__(self) -> None:
        self._rows: dict[_Label, int] = defaultdict(int)
        self._before_m2: dict[_Label, float] = defaultdict(float)
        self._after_m2: dict[_Label, float] = defaultdict(float)

    def add(self, rows: ChangeBatch) -> None:
        """Count a batch."""
        labels = list(zip(rows.status.tolist(), rows.kind.tolist(), strict=True))
        for label in {*labels}:
            some = np.array([one == label for one in labels], np.bool_)
            self._rows[label] += int(some.sum())
            self._before_m2[label] += float(np.nansum(rows.area_before_m2[some]))
            self._after_m2[label] += float(np.nansum(rows.area_after_m2[some]))

    @property
    def counts(self) -> tuple[StatusCount, ...]:
        """What there is, by status and kind."""
        return tuple(
            StatusCount(
                status=status,
                kind=kind,
                rows=rows,
                before_m2=self._before_m2[status, kind],
                after_m2=self._after_m2[status, kind],
            )
            for (status, kind), rows in sorted(self._rows.items(), key=str)
        )

    @property
    def statuses(self) -> dict[str, int]:
        """Rows of every status."""
        return {status: sum(one.rows for one in self.counts if one.status == status) for status in STATUSES}

    @property
    def kinds(self) -> dict[str, int]:
        """Rows of what has changed, by kind."""
        return {str(one.kind): one.rows for one in self.counts if one.status == "changed"}

    def area_m2(self, status: str) -> float:
        """Give the ground of a status, of the date that shows it."""
        some = [one for one in self.counts if one.status == status]
        return sum(one.before_m2 if status == "removed" else one.after_m2 for one in some)
