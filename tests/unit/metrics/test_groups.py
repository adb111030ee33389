"""Scores of what has something in common."""

from dataclasses import replace

import numpy as np
import pytest

from buildmap.metrics.cells import CellDifferences
from buildmap.metrics.confusion import scores
from buildmap.metrics.counts import PairCounts, PartCounts
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.groups import by_column, by_gsd, by_region, by_size
from buildmap.metrics.histogram import count_values
from buildmap.metrics.instances import Instances
from buildmap.metrics.objects import ObjectCounts
from buildmap.metrics.regions import SIZE_CLASSES_M2
from buildmap.metrics.segmentation import Segmentation
from buildmap.metrics.summary import Group
from tests.unit.metrics.findings import findings

EVALUATION = Evaluation(threshold=0.3)


def part(seed: int) -> PartCounts:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 255, (9, 8)).astype(np.uint8)
    truth, counted = rng.random((2, 9, 8)) < 0.7
    steps = tuple(Instances(tp=seed + 10 - step, fp=step, fn=seed) for step in range(10))
    return PartCounts(histogram=count_values(values, truth, counted), over_iou=steps)


def counts(seed: int, regions: dict[str, PartCounts] | None = None) -> PairCounts:
    histogram = part(seed).histogram
    assert histogram is not None
    return PairCounts(
        histogram=histogram,
        boundary=None,
        boundary_px=1,
        similarity=None,
        objects=None,
        topology=None,
        regions=regions or {},
    )


def confusion_of(*seeds: int) -> np.ndarray:
    """Count tp, fp, fn, tn at a probability of 0.3 (value 77 of 254 and more)."""
    found = np.zeros(4, int)
    for seed in seeds:
        table = part(seed).histogram.counts
        found += table[1, 77:].sum(), table[0, 77:].sum(), table[1, :77].sum(), table[0, :77].sum()
    return found


def check(group: Group, *seeds: int) -> None:
    confusion = group.scores.confusion
    assert confusion is not None
    assert [confusion.tp, confusion.fp, confusion.fn, confusion.tn] == confusion_of(*seeds).tolist()
    assert group.scores.pixels == scores(confusion)
    assert group.pairs == len(seeds)


@pytest.fixture
def objects_by_size() -> PairCounts:
    steps = [(Instances(tp=number, fp=2, fn=1),) * 10 for number in range(len(SIZE_CLASSES_M2))]
    objects = ObjectCounts(
        over_iou=(Instances(),) * 10,
        ranked=(),
        segmentation=Segmentation(),
        outlines=(),
        cells=CellDifferences(),
        by_size=tuple(steps),
    )
    return replace(counts(0), objects=objects)


def test_pairs_are_grouped_by_gsd_from_the_finest_to_the_unknown() -> None:
    sizes = [0.31, None, 0.075, 0.4, None]
    groups = by_gsd([counts(seed) for seed in range(5)], sizes, EVALUATION)
    assert [(group.kind, group.name) for group in groups] == [
        ("gsd", "0.06-0.08 m"),
        ("gsd", "0.30-0.50 m"),
        ("gsd", "unknown"),
    ]
    for group, seeds in zip(groups, [(2,), (0, 3), (1, 4)], strict=True):
        check(group, *seeds)
        assert group.scores.objects is group.scores.instances is None


def test_pairs_are_grouped_by_a_column_in_the_order_of_the_table() -> None:
    columns = [{"town": "Ulm", "year": "1"}, {"town": "", "year": "2"}, {"town": "Ulm", "year": "2"}]
    pairs = [counts(seed) for seed in range(3)]
    towns = by_column(pairs, columns, "town", EVALUATION)
    assert [(group.kind, group.name) for group in towns] == [("town", "Ulm"), ("town", "")]
    check(towns[0], 0, 2)
    check(towns[1], 1)
    years = by_column(pairs, columns, "year", EVALUATION)
    check(years[1], 1, 2)


def test_regions_of_the_same_name_in_several_pairs_are_one_group() -> None:
    pairs = [counts(9, {"east": part(0), "west": part(1)}), counts(9, {"west": part(2)}), counts(9)]
    east, west = by_region(pairs, EVALUATION)
    assert [(group.kind, group.name) for group in (east, west)] == [("region", "east"), ("region", "west")]
    check(east, 0)
    check(west, 1, 2)
    assert west.scores.instances == Instances(tp=11 + 12, fp=0, fn=1 + 2)
    assert west.scores.objects is not None
    assert west.scores.objects.at_50.recall == pytest.approx(23 / 26, abs=1e-5)


def test_sizes_have_buildings_and_no_pixels(objects_by_size: PairCounts) -> None:
    groups = by_size(objects_by_size, EVALUATION)
    assert [(group.kind, group.name) for group in groups] == [("size", name) for name in SIZE_CLASSES_M2]
    for number, group in enumerate(groups):
        assert group.scores.instances == Instances(tp=number, fp=2, fn=1)
        assert group.scores.objects is not None
        assert group.scores.objects.at_50.f1 == pytest.approx(2 * number / (2 * number + 3), abs=1e-4)
        assert group.scores.pixels is group.scores.confusion is None


def test_buildings_that_were_not_matched_have_no_sizes() -> None:
    pixels = np.zeros((1, 1, 4), int)
    assert by_size(findings(pixels).counts, EVALUATION) == []
