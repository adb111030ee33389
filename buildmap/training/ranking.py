"""The worst rows of a layer that is never whole in memory."""

import numpy as np

from buildmap.vector.writing.layers import Layer


class Worst:
    """Keeps the rows with the highest values; memory follows the number that is kept."""

    def __init__(self, limit: int, *, by: tuple[str, ...]) -> None:
        """Keep none yet.

        Args:
            limit: Rows kept at most.
            by: Columns that rank them, the highest first; the second decides where the first is equal, and
                of wholly equal rows the one added first comes first.
        """
        self._limit = limit
        self._by = by
        self._parts: list[Layer] = []
        self._rows = 0

    def add(self, rows: Layer) -> None:
        """Take in rows, with the same columns each time."""
        self._parts.append(rows)
        self._rows += len(rows.polygons)
        if self._rows > 2 * self._limit and len(self._parts) > 1:
            self._parts = [self._worst()]
            self._rows = len(self._parts[0].polygons)

    def ranked(self) -> Layer:
        """Give the rows kept, the worst first, with a column `rank` from 1 on.

        Raises:
            ValueError: If nothing was ever added, not even a layer without rows.
        """
        kept = self._worst()
        rank = np.arange(1, len(kept.polygons) + 1)
        return Layer(polygons=kept.polygons, columns={"rank": rank, **kept.columns})

    def _worst(self) -> Layer:
        polygons = np.concatenate([part.polygons for part in self._parts])
        columns = {
            name: np.concatenate([part.columns[name] for part in self._parts])
            for name in self._parts[0].columns
        }
        order = np.lexsort([-columns[name] for name in reversed(self._by)])[: self._limit]
        return Layer(
            polygons=polygons[order], columns={name: values[order] for name, values in columns.items()}
        )
