import pytest

from buildmap.changes.findings import StatusCount
from tests.unit.changes.reports import make_report


def count(status: str, kind: str | None, rows: int) -> StatusCount:
    return StatusCount(status=status, kind=kind, rows=rows, before_m2=10.0 * rows, after_m2=20.0 * rows)


def test_a_status_is_the_sum_of_its_kinds() -> None:
    counts = (count("changed", "split", 2), count("changed", "merged", 3), count("added", None, 7))
    total = make_report(counts=counts).of_status("changed")
    assert (total.rows, total.before_m2, total.after_m2, total.kind) == (5, 50, 100, None)
    assert make_report(counts=counts).of_status("removed").rows == 0


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no status: gone"):
        count("gone", None, 1)
