import math

import pytest

from buildmap.metrics.evaluation import MEASURES, Evaluation


def test_everything_is_measured_unless_it_is_left_out() -> None:
    assert Evaluation().measures == set(MEASURES) == {"boundary", "ssim", "objects", "outlines", "topology"}
    assert not Evaluation().by_size


@pytest.mark.parametrize(
    ("measures", "by_size", "takes"),
    [
        ({"objects"}, False, True),
        ({"outlines"}, False, True),
        (set(), True, True),
        (set(), False, False),
        ({"boundary", "ssim", "topology"}, False, False),
    ],
)
def test_buildings_are_matched_where_anything_asks_for_them(
    measures: set[str], by_size: bool, takes: bool
) -> None:
    assert Evaluation(measures=frozenset(measures), by_size=by_size).takes_objects is takes


def test_an_unknown_measure_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'ouTlines' is not one of boundary, ssim, objects, outlines, topol"):
        Evaluation(measures=frozenset({"objects", "ouTlines"}))


@pytest.mark.parametrize("field", ["boundary_m", "corner_m", "cell_m", "gsd_m"])
@pytest.mark.parametrize("length", [0.0, -1.0, math.nan, math.inf])
def test_lengths_are_above_0_and_finite(field: str, length: float) -> None:
    with pytest.raises(ValueError, match="must be finite and above 0"):
        Evaluation(**{field: length})


@pytest.mark.parametrize("rows", [0, -5])
def test_a_strip_has_a_row(rows: int) -> None:
    with pytest.raises(ValueError, match=f"strips of {rows} rows"):
        Evaluation(strip_rows=rows)
