import numpy as np
import pytest

from buildmap.changes.columns import STATUSES, ChangeBatch
from buildmap.changes.tally import Tally
from tests.unit.changes.batches import batch_of

ROWS = [
    ("added", None, np.nan, 50.0),
    ("removed", None, 70.0, np.nan),
    ("removed", None, 30.0, np.nan),
    ("changed", "enlarged", 40.0, 60.0),
    ("changed", "split", 90.0, 45.0),
    ("unchanged", None, 10.0, 11.0),
]


def batch(rows: list[tuple[str, str | None, float, float]]) -> ChangeBatch:
    status, kind, before, after = zip(*rows, strict=True)
    return batch_of(
        len(rows),
        status=np.array([*status], np.object_),
        kind=np.array([*kind], np.object_),
        area_before_m2=np.array(before),
        area_after_m2=np.array(after),
    )


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_batches_add_up(cut: int) -> None:
    tally = Tally()
    for part in (ROWS[:cut], ROWS[cut:]):
        if part:
            tally.add(batch(part))
    assert {status: count for status, count in tally.statuses.items() if count} == {
        "added": 1,
        "removed": 2,
        "changed": 2,
        "unchanged": 1,
    }
    assert tally.statuses.keys() == {*STATUSES}
    assert tally.kinds == {"enlarged": 1, "split": 1}
    assert (tally.area_m2("added"), tally.area_m2("removed")) == (50, 100)
    enlarged = next(one for one in tally.counts if one.kind == "enlarged")
    assert (enlarged.rows, enlarged.before_m2, enlarged.after_m2) == (1, 40, 60)


def test_nothing_is_nothing() -> None:
    assert {*Tally().statuses.values()} == {0} and Tally().counts == () and Tally().kinds == {}
