"""Buildings of one date: their outlines, and what their layer says of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.ragged import Ragged
from buildmap.vector.store import PolygonStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildings:
    """Some buildings of one date."""

    store: PolygonStore
    """n polygons in the working CRS."""
    row: NDArray[np.int64]
    """(n,) number of each polygon in its layer, in the order of reading; unique."""
    columns: dict[str, NDArray[np.generic]]
    """(n,) of each attribute that is carried along."""

    def __post_init__(self) -> None:
        lengths = {len(self.row), *map(len, self.columns.values())}
        if lengths != {len(self.store)}:
            raise ValueError(f"{len(self.store)} polygons come with {sorted(lengths)} rows")

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[np.int64]) -> "Buildings":
        """Give some of them, by index, in that order."""
        return Buildings(
            store=self.store.select(rows),
            row=self.row[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )


def gather(*parts: Buildings) -> Buildings:
    """Put buildings of one date behind each other.

    Parts without a building add nothing, and need not have the columns of the others.

    Raises:
        ValueError: If there is no part, or parts have different columns.
    """
    if not parts:
        raise ValueError("there is nothing to gather")
    some = [part for part in parts if len(part)] or [parts[-1]]
    if len(some) == 1:
        return some[0]
    names = some[0].columns.keys()
    for part in some:
        if part.columns.keys() != names:
            raise ValueError(f"columns {sorted(part.columns)} come after {sorted(names)}")
    return Buildings(
        store=join_stores(*(part.store for part in some)),
        row=np.concatenate([part.row for part in some]),
        columns={name: np.concatenate([part.columns[name] for part in some]) for name in names},
    )


def no_buildings(columns: Mapping[str, NDArray[np.generic]]) -> Buildings:
    """Give none, with columns of the same types.

    Args:
        columns: Of any length.
    """
    return Buildings(
        store=PolygonStore.gather([]),
        row=np.empty(0, np.int64),
        columns={name: values[:0] for name, values in columns.items()},
    )


def buildings_of(
    polygons: NDArray[np.object_], row: NDArray[np.int64], columns: Mapping[str, NDArray[np.generic]]
) -> Buildings:
    """Make buildings of shapely polygons.

    Args:
        polygons: (n,) valid, each with an area.
        row: (n,) number of each in its layer.
        columns: (n,) of each attribute.
    """
    return Buildings(store=PolygonStore.gather([polygons]), row=row, columns=dict(columns))


def join_stores(*stores: PolygonStore) -> PolygonStore:
    """Put the polygons of stores, at least one, behind each other."""
    flats = [store.flat for store in stores]
    return PolygonStore(
        flat=Ragged(
            np.concatenate([flat.corners for flat in flats]),
            _continued([flat.rings for flat in flats]),
            _continued([flat.polygons for flat in flats]),
        ),
        bounds=np.concatenate([store.bounds for store in stores]),
        area=np.concatenate([store.area for store in stores]),
    )


def _continued(offsets: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Join offsets, each of which starts at 0."""
    sizes = np.concatenate([np.diff(some) for some in offsets])
    return np.append(0, np.cumsum(sizes))
