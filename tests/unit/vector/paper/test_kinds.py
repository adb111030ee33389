import numpy as np
import pytest

from buildmap.vector.paper.kinds import (
    MeasureSketches,
    Thresholds,
    kinds,
    thresholds,
    thresholds_of_sketches,
)
from buildmap.vector.paper.measures import ContourMeasures
from buildmap.vector.paper.options import PaperOptions

OPTIONS = PaperOptions(curvature_quantile=0.5, ratio_quantile=0.6, noise_quantile=0.9)


def measures(rows: list[tuple[float, float, float]]) -> ContourMeasures:
    curvature, ratio, noise = np.array(rows, np.float64).reshape(-1, 3).T
    return ContourMeasures(curvature=curvature, ratio=ratio, noise=noise)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ((1, 2, 3), "regular"),
        ((1.1, 2, 3), "complex"),
        ((1, 2.1, 3), "complex"),
        ((1.1, 2.1, 3), "complex"),
        ((0, 0, 3.1), "noisy"),
        ((9, 9, 3.1), "noisy"),
    ],
)
def test_what_exceeds_a_threshold_is_high(row: tuple[float, float, float], kind: str) -> None:
    limits = Thresholds(curvature=1, ratio=2, noise=3)
    assert kinds(measures([row]), limits).tolist() == [kind]


def test_thresholds_are_values_of_the_image_itself() -> None:
    rows = [(float(k), 10.0 * k, 100.0 * k) for k in range(1, 11)]
    limits = thresholds(measures(rows[::-1]), OPTIONS)
    assert limits == Thresholds(curvature=5, ratio=60, noise=900)


def test_sketches_give_the_thresholds_to_their_error_in_any_order() -> None:
    rng = np.random.default_rng(2)
    parts = [
        ContourMeasures(curvature=a, ratio=b, noise=c * 1e-3) for a, b, c in rng.lognormal(size=(5, 3, 400))
    ]
    whole = ContourMeasures(
        curvature=np.concatenate([part.curvature for part in parts]),
        ratio=np.concatenate([part.ratio for part in parts]),
        noise=np.concatenate([part.noise for part in parts]),
    )
    forth, back = MeasureSketches.of(parts[0]), MeasureSketches.of(parts[-1])
    for part in parts[1:]:
        forth += MeasureSketches.of(part)
    for part in parts[-2::-1]:
        back += MeasureSketches.of(part)
    exact, found = thresholds(whole, OPTIONS), thresholds_of_sketches(forth, OPTIONS)
    assert found == thresholds_of_sketches(back, OPTIONS)
    for name in ("curvature", "ratio", "noise"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0.0021)


def test_without_contours_all_is_regular() -> None:
    nothing = measures([])
    limits = thresholds(nothing)
    assert limits == thresholds_of_sketches(MeasureSketches.of(nothing))
    assert kinds(measures([(9, 9, 9)]), limits).tolist() == ["regular"]
