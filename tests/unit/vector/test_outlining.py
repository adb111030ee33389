"""Nonsense is refused."""

from typing import Any

import pytest

from buildmap.vector.outlining import Outlining, lowest_value


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"threshold": 1.5}, "threshold 1.5"),
        ({"simplify_m": -1.0}, "simplify_m"),
        ({"min_area_m2": float("nan")}, "min_area_m2"),
        ({"hysteresis": 0.4}, "hysteresis 0.4 is below threshold 0.5"),
        ({"split": True, "seed": 0.5}, "seed 0.5 is not above threshold 0.5"),
        ({"min_seed_px": 0}, "min_seed_px 0"),
        ({"method": "best"}, "'best'"),
        ({"outline": "middle"}, "'middle'"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Outlining(**wrong)


def test_the_first_value_reaches_the_threshold_and_the_one_below_does_not() -> None:
    for threshold in (0.0, 0.1, 0.5, 1 / 3, 1.0, *(step / 254 for step in range(255))):
        lowest = lowest_value(threshold)
        assert lowest / 254 >= threshold - 1e-8
        assert (lowest - 1) / 254 < threshold
