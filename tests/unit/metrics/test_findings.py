"""What all pairs give together."""

from dataclasses import replace

import numpy as np
import pytest

from buildmap.metrics.figures import Mark
from buildmap.metrics.findings import intervals, make_report
from buildmap.metrics.statistics import bootstrap, object_statistics, pixel_statistics
from tests.unit.metrics.findings import findings
from tests.unit.metrics.summaries import make_summary
from tests.unit.metrics.test_report import place


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
    assert report.curves == () and not report.sizes.shown


def test_what_is_wrong_is_told_as_a_share_of_a_whole_cell() -> None:
    pixels = np.zeros((2, 3, 4), np.int64)
    pixels[0, 0] = 40, 30, 20, 10  # tp, fp, fn, tn of a cell of 100 pixels
    pixels[1, 2] = 0, 5, 1, 4  # seen in part: a sliver is no great error
    report = make_report([findings(pixels)], make_summary("a.tif"), (), command="")
    (shown,) = report.maps
    unseen = np.isnan(shown.invented)
    assert unseen.tolist() == np.isnan(shown.missed).tolist() == [[False, True, True], [True, True, False]]
    assert (shown.invented[0, 0], shown.missed[0, 0]) == (0.3, 0.2)
    assert (shown.invented[1, 2], shown.missed[1, 2]) == (0.05, 0.01)


def test_maps_come_worst_first_with_the_numbers_of_their_worst_places() -> None:
    found = [findings(np.ones((2, 2, 4), np.int64)) for _ in range(3)]
    summary = make_summary("a.tif", "b.tif", "c.tif")
    pairs = tuple(
        replace(
            pair,
            scores=replace(pair.scores, pixels=replace(pair.scores.pixels, iou=iou)),
        )
        for pair, iou in zip(summary.pairs, (float("nan"), 0.7, 0.2), strict=True)
    )
    places = (
        replace(place(0, 8), pair=2, cell=(1, 0)),
        replace(place(1, 8), pair=1, cell=(0, 1)),
        replace(place(2, 8), pair=2, cell=(0, 0)),
    )
    maps = make_report(found, replace(summary, pairs=pairs), places, command="").maps
    assert [(shown.name, shown.marks) for shown in maps] == [
        ("c.tif", (Mark(1, 1, 0), Mark(3, 0, 0))),
        ("b.tif", (Mark(2, 0, 1),)),
        ("a.tif", ()),
    ]
