"""What is known of the buildings before: from an earlier run's layer, or from any other with polygons."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from buildmap.changes.buildings import Buildings
from buildmap.changes.history import LETTERS, SEEN
from buildmap.errors import InputError

_ID_BYTES = 8  # of five million buildings, two have the same with a chance of one in a million
_NAME_GRID = 1e-3
_OURS = ("status", "history", "first_seen", "last_seen")
"""Columns that an earlier run has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """n buildings before."""

    building_id: NDArray[np.object_]
    """(n,) str."""
    is_present: NDArray[np.bool_]
    """(n,) False = seen on too few dates yet to be believed."""
    history: NDArray[np.object_]
    """(n,) str, see `history`."""
    first_seen: NDArray[np.object_]
    """(n,) str or None: date."""
    last_seen: NDArray[np.object_]
    """(n,) str or None: date."""


def carried_columns(names: Sequence[str], id_column: str | None) -> tuple[str, ...]:
    """Choose what to read of a layer of buildings before.

    Args:
        names: Columns of the layer.
        id_column: Has the ids; `building_id`, if it is there, when None.

    Raises:
        InputError: If the column of ids is not there.
    """
    if id_column is not None and id_column not in names:
        raise InputError(f"BEFORE has no column '{id_column}'", hint=f"it has {', '.join(names) or 'none'}")
    ids = id_column or "building_id"
    is_ours = {*_OURS} <= {*names}
    return (*((ids,) if ids in names else ()), *(_OURS if is_ours else ()))


def drop_removed(buildings: Buildings) -> Buildings:
    """Leave out what an earlier run has found to be gone."""
    if "status" not in buildings.columns:
        return buildings
    return buildings.take(np.flatnonzero(buildings.columns["status"] != "removed"))


def know(buildings: Buildings, polygons: NDArray[np.object_], *, date: str | None) -> Known:
    """Gather what the layer says of some buildings; what it does not say follows from their being in it.

    Args:
        buildings: With the columns of `carried_columns`.
        polygons: (n,) theirs.
        date: When they were seen, where the layer does not say.
    """
    columns = {name: values.astype(np.object_) for name, values in buildings.columns.items()}
    earlier = "history" in columns
    id_names = columns.keys() - {*_OURS}
    given = columns[id_names.pop()] if id_names else np.full(len(buildings), None, np.object_)
    return Known(
        building_id=_ids(given, polygons),
        is_present=columns["status"] != "appearing" if earlier else np.ones(len(buildings), np.bool_),
        history=_objects(map(_history, columns["history"])) if earlier else _same(SEEN, len(buildings)),
        first_seen=columns["first_seen"] if earlier else _same(date, len(buildings)),
        last_seen=columns["last_seen"] if earlier else _same(date, len(buildings)),
    )


def name_buildings(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make an id of each outline, (n,) str: the same for the same outline to a thousandth of its unit."""
    # with zero added, minus zero, which has bits of its own, is zero
    snapped = shapely.to_wkb(
        shapely.transform(polygons, lambda corners: np.round(corners / _NAME_GRID) + 0.0)
    )
    names = [
        base64.b32encode(hashlib.blake2b(one, digest_size=_ID_BYTES).digest())[:13].decode().lower()
        for one in snapped
    ]
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        again = seen[name] = seen.get(name, 0) + 1
        if again > 1:  # drawn twice: which is which does not matter, as long as they are two
            names[place] = f"{name}-{again}"
    return _objects(names)


def _ids(given: NDArray[np.object_], polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Write ids as text, and name what has none."""
    ids = _objects(map(_as_text, given))
    nameless = np.flatnonzero(ids == "")
    ids[nameless] = name_buildings(polygons[nameless])
    return ids


def _as_text(value: object) -> str:
    """Write an id; whole numbers come as floats where a column has gaps."""
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _history(value: object) -> str:
    text = value if isinstance(value, str) else SEEN
    if not LETTERS.issuperset(text):
        raise InputError(f"BEFORE has a history '{text}'", hint="its letters are those of buildmap change")
    return text


def _objects(values: object) -> NDArray[np.object_]:
    return np.array([*values, None], np.object_)[:-1]  # type: ignore[misc]


def _same(value: str | None, count: int) -> NDArray[np.object_]:
    return np.full(count, value, np.object_)
