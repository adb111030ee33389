"""Nonsense is refused."""

import pytest

from buildmap.vector.outlining import Outlining


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"simplify_m": -1.0}, {"min_area_m2": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Outlining(**{"threshold": 0.5, **wrong})
