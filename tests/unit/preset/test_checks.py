"""What values of a table have in common."""

from dataclasses import dataclass

import pytest

from buildmap.preset.checks import check_positive


@dataclass
class Table:
    width: float
    depth: float | None = None


def test_only_numbers_above_zero_and_absent_ones_pass() -> None:
    check_positive(Table(0.5), "width", "depth")
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"depth {wrong} is not positive"):
            check_positive(Table(1, wrong), "width", "depth")
