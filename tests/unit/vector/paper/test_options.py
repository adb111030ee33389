import math

import pytest

from buildmap.vector.paper.options import PaperOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise_quantile", 1.1),
        ("consensus_min", -0.1),
        ("ratio_weight", -1.0),
        ("area_change_max", math.inf),
        ("tolerances_px", ()),
        ("tolerances_px", (1.0, 0.0)),
        ("directions_max", 0),
    ],
)
def test_odd_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        PaperOptions(**{name: value})


def test_a_score_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        PaperOptions(curvature_weight=0, ratio_weight=0, noise_weight=0)
