"""How findings are read is a value that says what is wrong with it."""

from dataclasses import replace

import pytest

from buildmap.inference.finding import MIN_SCORE, Finding

FINDING = Finding(min_score=MIN_SCORE, threshold=0.5, grouping="along", margin_px=8)


@pytest.mark.parametrize("name", ["min_score", "threshold", "peak_min"])
def test_a_share_lies_within_0_and_1(name: str) -> None:
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} {value} is not within"):
            replace(FINDING, **{name: value})
    assert getattr(replace(FINDING, **{name: 1.0}), name) == 1


def test_a_margin_is_not_negative() -> None:
    with pytest.raises(ValueError, match="margin_px -1 is below 0"):
        replace(FINDING, margin_px=-1)
