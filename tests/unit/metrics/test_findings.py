"""What all pairs give together."""

import numpy as np
import pytest

from buildmap.metrics.findings import intervals, make_report
from buildmap.metrics.statistics import bootstrap, object_statistics, pixel_statistics
from tests.unit.metrics.findings import findings
from tests.unit.metrics.summaries import make_summary


def test_intervals_are_drawn_from_the_cells_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 50, (4, 5, 4)), rng.integers(0, 3, (4, 5, 3))) for _ in range(2)]
    found = intervals([findings(*pair) for pair in pairs], seed=3)
    tables = [np.concatenate([pair[side].reshape(20, -1)[:, :3] for pair in pairs]) for side in (0, 1)]
    draws = np.random.default_rng(3)
    wanted = [
        *bootstrap(tables[0], pixel_statistics, rng=draws),
        *bootstrap(tables[1], object_statistics, rng=draws),
    ]
    assert list(found.values()) == wanted
    assert list(found) == [
        *("iou", "f1", "precision", "recall"),
        *("object_precision", "object_recall", "object_f1"),
    ]
    together = sum(tables[0])
    assert found["iou"].low < together[0] / together.sum() < found["iou"].high


def test_without_buildings_there_are_no_intervals_of_them() -> None:
    pixels = np.random.default_rng(0).integers(1, 50, (4, 5, 4))
    assert list(intervals([findings(pixels)], seed=0)) == ["iou", "f1", "precision", "recall"]


@pytest.mark.parametrize("names", [("a.tif",), ("a.tif", "b.gpkg")])
def test_the_report_has_a_map_for_each_pair(names: tuple[str, ...]) -> None:
    pixels = np.arange(3 * 4 * 4).reshape(3, 4, 4)
    found = [findings(pixels + number) for number in range(len(names))]
    report = make_report(found, make_summary(*names), (), command="buildmap evaluate a b")
    assert report.title == ("How good is a.tif?" if len(names) == 1 else "How good are 2 maps?")
    assert [(shown.name, shown.cell_m) for shown in report.maps] == [(name, 5.0) for name in names]
    for number, shown in enumerate(report.maps):
        counted = pixels + number
        assert shown.iou == pytest.approx(counted[..., 0] / counted[..., :3].sum(axis=-1))
    assert report.command == "buildmap evaluate a b"
    assert len(report.ious) == len(report.polis_m) == len(report.area_errors) == 0
