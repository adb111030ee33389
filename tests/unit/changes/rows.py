"""Rows of a change with known numbers, for tests of what is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity

from buildmap.changes.examples import STATUSES, Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What `examples.ChangeRows` asks for."""

    polygons: NDArray[np.object_]
    building_id: NDArray[np.object_]
    status: NDArray[np.object_]
    kind: NDArray[np.object_]
    area_before_m2: NDArray[np.float64]
    area_after_m2: NDArray[np.float64]
    iou: NDArray[np.float64]
    shift_m: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    before: NDArray[np.object_]
    after: NDArray[np.object_]

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        return Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def squares(
    xy: NDArray[np.float64],
    side: NDArray[np.float64],
    status: Sequence[str],
    *,
    names: Sequence[str] | None = None,
) -> Rows:
    """Make rows of squares with these centres; what is there at both dates grows by a tenth of its side."""
    count = len(xy)
    half = np.asarray(side, np.float64) / 2
    now = shapely.box(xy[:, 0] - half, xy[:, 1] - half, xy[:, 0] + half, xy[:, 1] + half)
    state = np.array(status, dtype=object)
    new, gone = np.isin(status, ("added", "appearing")), np.isin(status, ("removed", "missing", "unobserved"))
    before, after = np.full(count, None, object), np.full(count, None, object)
    for row in range(count):
        before[row] = None if new[row] else now[row]
        after[row] = None if gone[row] else now[row] if new[row] else affinity.scale(now[row], 1.1, 1)
    area = np.full(count, np.nan)
    area_before, area_after = area.copy(), area.copy()
    area_before[~new] = shapely.area(before[~new].tolist())
    area_after[~gone] = shapely.area(after[~gone].tolist())
    return Rows(
        polygons=np.where(gone, before, after),
        building_id=np.array(names or [f"id-{row}" for row in range(count)], dtype=object),
        status=state,
        kind=np.where(state == "changed", "enlarged", None),
        area_before_m2=area_before,
        area_after_m2=area_after,
        iou=np.where(new | gone, np.nan, 1 / 1.1),
        shift_m=np.full(count, 2.5),
        dx=np.full(count, 1.5),
        dy=np.where(gone, np.nan, 2.0),
        before=before,
        after=after,
    )


def random_rows(seed: int, count: int, *, extent: float = 4000.0) -> Rows:
    """Scatter squares of few sizes, so that many are equal."""
    rng = np.random.default_rng(seed)
    return squares(
        rng.uniform(-extent / 2, extent / 2, (count, 2)).round(),
        rng.choice([4.0, 8.0, 12.0], count),
        rng.choice(STATUSES, count).tolist(),
        names=[f"b{number}" for number in rng.permutation(count)],
    )


def told(example: Example) -> tuple[object, ...]:
    """Give what makes an example another one, comparable although some numbers are NaN."""
    return example.building_id, example.status, example.polygon.wkb, example.shift
