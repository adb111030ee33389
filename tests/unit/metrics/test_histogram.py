import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, strategies
from numpy.typing import NDArray

from buildmap.metrics.confusion import Confusion, EmptyRule, count, scores
from buildmap.metrics.histogram import Histogram, count_by_cell, count_by_region, count_values
from buildmap.vector.outlining import lowest_value
from tests.scenes import blocks_mask

Strip = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]
"""Values, truth, counted."""


def noise(rng: np.random.Generator, rows: int, cols: int) -> Strip:
    """Draw values that know a little of the truth; what does not count is 255 and true or not."""
    truth = rng.random((rows, cols)) < 0.4
    values = np.clip(rng.normal(90 + 60 * truth, 60), 0, 254).astype(np.uint8)
    counted = rng.random((rows, cols)) < 0.8
    values[~counted] = 255
    return values, truth, counted


def scene(rng: np.random.Generator, rows: int, cols: int) -> Strip:
    """Draw houses on empty ground, mostly right, with a border that does not count."""
    truth = blocks_mask(rng, rows, cols).astype(bool)
    values = np.roll(truth, 1, axis=1).astype(np.uint8) * np.uint8(254)
    values[: rows // 3] = values[: rows // 3] // 2
    counted = np.ones((rows, cols), np.bool_)
    counted[:, : cols // 4] = False
    values[~counted] = 255
    return values, truth, counted


SCENES = pytest.mark.parametrize("draw", [noise, scene])
Draw = Callable[[np.random.Generator, int, int], Strip]


def slowly(values: NDArray[np.uint8], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Histogram:
    """Count by numpy's two-dimensional histogram."""
    table, _, _ = np.histogram2d(
        truth[counted].astype(int), values[counted], bins=[[0, 1, 2], np.arange(256)]
    )
    return Histogram(counts=table.astype(np.int64))


@SCENES
@pytest.mark.parametrize("shape", [(0, 9), (1, 1), (1, 7), (3, 5), (4, 8), (61, 77)])
def test_counts_agree_with_numpy(draw: Draw, shape: tuple[int, int]) -> None:
    strip = draw(np.random.default_rng(1), *shape)
    got = count_values(*strip)
    assert got == slowly(*strip)
    assert got.pixels == strip[2].sum()


@pytest.mark.parametrize("true", [False, True])
@pytest.mark.parametrize("value", [0, 1, 127, 254])
def test_even_ground_is_counted_where_it_belongs(value: int, true: bool) -> None:
    shape = (5, 13)
    got = count_values(np.full(shape, value, np.uint8), np.full(shape, true), np.ones(shape, np.bool_))
    expected = np.zeros((2, 255), np.int64)
    expected[int(true), value] = 65
    np.testing.assert_array_equal(got.counts, expected)


@pytest.mark.parametrize("true", [False, True])
@pytest.mark.parametrize("value", [0, 77, 255])
def test_ground_that_does_not_count_may_hold_anything(value: int, true: bool) -> None:
    values, truth, counted = (np.full((4, 21), fill) for fill in (np.uint8(value), np.bool_(true), False))
    assert count_values(values, truth, counted) == Histogram()
    values[2, 3:17], truth[2, 3:17], counted[2, 3:17] = 9, True, True
    expected = np.zeros((2, 255), np.int64)
    expected[1, 9] = 14
    np.testing.assert_array_equal(count_values(values, truth, counted).counts, expected)
    regions = np.zeros(values.shape, np.int32)
    np.testing.assert_array_equal(
        count_by_region(values, truth, counted, regions, regions_count=1)[0], expected
    )
    cells, _ = count_by_cell(values, truth, counted, lowest=9, row_off=0, col_off=0, cell_px=50)
    assert cells.tolist() == [[[14, 0, 0, 0]]]


@SCENES
def test_parts_of_larger_arrays_are_counted_alike(draw: Draw) -> None:
    strip = draw(np.random.default_rng(2), 40, 51)
    rows, cols = slice(3, 33), slice(5, 44)
    whole_rows = tuple(part[rows] for part in strip)  # starts off the boundary of a word
    assert count_values(*whole_rows) == slowly(*whole_rows)
    inner = tuple(part[rows, cols] for part in strip)
    assert count_values(*inner) == slowly(*inner)
    for part in inner:
        part.setflags(write=False)
    assert count_values(*inner) == slowly(*inner)


@given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(1, 30),
    strategies.integers(1, 40),
    strategies.lists(strategies.integers(0, 30), max_size=4),
)
def test_any_cut_sums_to_the_whole(seed: int, rows: int, cols: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    strip = (noise if seed % 2 else scene)(rng, rows, cols)
    ends = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [count_values(*(part[a:b] for part in strip)) for a, b in itertools.pairwise(ends)]
    assert sum(parts, Histogram()) == count_values(*strip) == slowly(*strip)


def test_no_data_must_not_count() -> None:
    values, truth, counted = noise(np.random.default_rng(3), 6, 9)
    counted[4, 8] = True
    values[4, 8] = 255
    with pytest.raises(ValueError, match="have the value 255"):
        count_values(values, truth, counted)
    with pytest.raises(ValueError, match="have the value 255"):
        count_by_region(values, truth, counted, np.zeros((6, 9), np.int32), regions_count=1)


def test_mistaken_arrays_are_refused() -> None:
    values, truth, counted = noise(np.random.default_rng(4), 6, 9)
    with pytest.raises(ValueError, match="not of one shape"):
        count_values(values, truth[1:], counted)
    with pytest.raises(ValueError, match="not of one shape"):
        count_values(values[0], truth[0], counted[0])
    with pytest.raises(ValueError, match="not float64, bool, bool"):
        count_values(values / 254, truth, counted)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not uint8, uint8, bool"):
        count_values(values, truth.view(np.uint8), counted)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"int64 \(2, 255\), not int64 \(2, 256\)"):
        Histogram(counts=np.zeros((2, 256), np.int64))
    with pytest.raises(ValueError, match="not float64"):
        Histogram(counts=np.zeros((2, 255)))  # type: ignore[arg-type]


@SCENES
@pytest.mark.parametrize("lowest", [0, 1, 100, 127, 254, 255])
def test_a_confusion_is_that_of_scikit_learn_at_the_same_threshold(draw: Draw, lowest: int) -> None:
    values, truth, counted = draw(np.random.default_rng(5), 40, 50)
    got = count_values(values, truth, counted).confusion(lowest)
    table = sk.confusion_matrix(truth[counted], values[counted] >= lowest, labels=[False, True])
    assert [[got.tn, got.fp], [got.fn, got.tp]] == table.tolist()
    assert got == count(values >= lowest, truth, counted)


def test_a_confusion_needs_a_value() -> None:
    for lowest in (-1, 256):
        with pytest.raises(ValueError, match=f"lowest is {lowest}"):
            Histogram().confusion(lowest)


def test_histograms_are_equal_by_what_they_count() -> None:
    one, other = Histogram(), Histogram()
    assert one == other
    other.counts[1, 254] = 1
    assert one != other
    assert (one + other, other + other) == (other, Histogram(counts=2 * other.counts))
    assert one != "a histogram"


def test_a_mask_has_only_the_first_and_the_last_value() -> None:
    counts = np.zeros((2, 255), np.int64)
    counts[:, [0, 254]] = 5
    assert Histogram(counts=counts).is_binary and Histogram().is_binary
    for truth, value in ((0, 1), (1, 253), (0, 127)):
        other = counts.copy()
        other[truth, value] = 1
        assert not Histogram(counts=other).is_binary


@SCENES
@pytest.mark.parametrize("rule", ["epsilon", "one", "skip"])
def test_a_sweep_scores_every_threshold(draw: Draw, rule: EmptyRule) -> None:
    histogram = count_values(*draw(np.random.default_rng(6), 40, 50))
    sweep = histogram.sweep(rule)
    assert [lowest_value(point.threshold) for point in sweep.points] == list(range(1, 255))
    for lowest, point in enumerate(sweep.points, start=1):
        expected = scores(histogram.confusion(lowest), rule)
        got = (point.iou, point.f1, point.precision, point.recall)
        np.testing.assert_array_equal(got, (expected.iou, expected.f1, expected.precision, expected.recall))
    assert sweep.best_iou.iou == max(point.iou for point in sweep.points)
    assert sweep.best_f1.f1 == max(point.f1 for point in sweep.points)
    assert sweep.best_iou in sweep.points and sweep.best_f1 in sweep.points


def test_precision_and_recall_are_those_of_scikit_learns_curve() -> None:
    values, truth, counted = noise(np.random.default_rng(7), 40, 50)
    points = count_values(values, truth, counted).sweep("one").points
    precision, recall, thresholds = sk.precision_recall_curve(truth[counted], values[counted])
    found = {int(t): (p, r) for t, p, r in zip(thresholds, precision, recall, strict=False) if t > 0}
    assert len(found) > 200
    for lowest, expected in found.items():
        point = points[lowest - 1]
        assert (point.precision, point.recall) == pytest.approx(expected, rel=1e-12)


def of_values(background: list[int], building: list[int]) -> Histogram:
    return Histogram(
        counts=np.stack([np.bincount(side, minlength=255) for side in (background, building)]).astype(
            np.int64
        )
    )


@pytest.mark.parametrize(
    ("background", "building", "best"),
    [
        ([0, 0], [254], 127),  # a mask: all the same
        ([20], [30], 30),  # all good ones lie below 0.5
        ([200], [220], 201),  # all above
        ([126, 127], [126, 128], 126),  # as far from a half as 128, which gives as much: the lower
        ([126, 127, 127], [126, 128], 128),
    ],
)
def test_of_equally_good_thresholds_the_one_next_to_a_half_is_best(
    background: list[int], building: list[int], best: int
) -> None:
    histogram = of_values(background, building)
    by_lowest = {lowest: scores(histogram.confusion(lowest), "one").iou for lowest in range(1, 255)}
    alike = [lowest for lowest, iou in by_lowest.items() if iou == max(by_lowest.values())]
    assert best == min(alike, key=lambda lowest: (abs(lowest - 127), lowest))
    assert histogram.sweep("one").best_iou.threshold == best / 254


def test_without_buildings_and_predictions_the_best_threshold_is_a_half() -> None:
    sweep = of_values([0, 0, 0], []).sweep("skip")
    assert all(math.isnan(point.iou) for point in sweep.points)
    assert sweep.best_iou.threshold == sweep.best_f1.threshold == 0.5
    some = of_values([0, 240], []).sweep("skip")  # below 241 it is plainly wrong, above undefined
    assert (some.best_iou.iou, some.best_iou.threshold) == (0, 0.5)


def by_cell_slowly(strip: Strip, *, lowest: int, row_off: int, col_off: int, cell_px: int) -> dict:
    """Count pixel by pixel into cells that are named by their place in the grid."""
    found: dict[tuple[int, int], list[int]] = {}
    for (row, col), value in np.ndenumerate(strip[0]):
        if strip[2][row, col]:
            cell = found.setdefault(((row_off + row) // cell_px, (col_off + col) // cell_px), [0] * 4)
            kind = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}
            cell[kind[bool(value >= lowest), bool(strip[1][row, col])]] += 1
    return found


def named(cells: NDArray[np.int64], first: tuple[int, int]) -> dict:
    """Name the cells with pixels by their place in the grid."""
    rows, cols = np.nonzero(cells.any(axis=2))
    return {
        (first[0] + r, first[1] + c): cells[r, c].tolist()
        for r, c in zip(rows.tolist(), cols.tolist(), strict=True)
    }


@given(
    strategies.integers(0, 2**32 - 1),
    strategies.tuples(strategies.integers(1, 12), strategies.integers(1, 14)),
    strategies.tuples(strategies.integers(0, 30), strategies.integers(0, 30)),
    strategies.integers(1, 16),
    strategies.integers(0, 255),
)
def test_cells_agree_with_counting_pixel_by_pixel(
    seed: int, shape: tuple[int, int], start: tuple[int, int], cell_px: int, lowest: int
) -> None:
    strip = noise(np.random.default_rng(seed), *shape)
    place = {"lowest": lowest, "row_off": start[0], "col_off": start[1], "cell_px": cell_px}
    cells, first = count_by_cell(*strip, **place)
    assert named(cells, first) == by_cell_slowly(strip, **place)
    assert first == (start[0] // cell_px, start[1] // cell_px)
    last = ((start[0] + shape[0] - 1) // cell_px, (start[1] + shape[1] - 1) // cell_px)
    assert cells.shape == (last[0] - first[0] + 1, last[1] - first[1] + 1, 4)
    tp, fp, fn, tn = cells.sum(axis=(0, 1)).tolist()
    assert Confusion(tp=tp, fp=fp, fn=fn, tn=tn) == count_values(*strip).confusion(lowest)


def test_a_part_of_a_block_is_counted_by_cell_alike() -> None:
    strip = scene(np.random.default_rng(8), 30, 40)
    inner = tuple(part[2:27, 7:33] for part in strip)
    place = {"lowest": 128, "row_off": 11, "col_off": 3, "cell_px": 8}
    assert named(*count_by_cell(*inner, **place)) == by_cell_slowly(inner, **place)


def test_cells_have_pixels() -> None:
    with pytest.raises(ValueError, match="cells of 0 pixels"):
        count_by_cell(*noise(np.random.default_rng(9), 2, 2), lowest=127, row_off=0, col_off=0, cell_px=0)


@SCENES
def test_regions_are_counted_as_if_each_were_the_ground_that_counts(draw: Draw) -> None:
    rng = np.random.default_rng(10)
    values, truth, counted = draw(rng, 40, 50)
    regions = np.kron(rng.integers(-1, 4, (8, 10)), np.ones((5, 5))).astype(np.int32)
    got = count_by_region(values, truth, counted, regions, regions_count=5)
    for region in range(5):
        expected = count_values(values, truth, counted & (regions == region))
        assert Histogram(counts=got[region]) == expected
    assert got[4].sum() == 0 < got[3].sum()


def test_numbers_of_regions_are_checked() -> None:
    values, truth, counted = noise(np.random.default_rng(11), 6, 9)
    counted[2, 2], values[2, 2] = True, 9
    regions = np.zeros((6, 9), np.int32)
    regions[2, 2] = 3
    with pytest.raises(ValueError, match="region 3 of 3"):
        count_by_region(values, truth, counted, regions, regions_count=3)
    with pytest.raises(ValueError, match=r"regions are int32 \(6, 9\), not int64"):
        count_by_region(values, truth, counted, regions.astype(np.int64), regions_count=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"regions are int32 \(6, 9\), not int32 \(5, 9\)"):
        count_by_region(values, truth, counted, regions[1:], regions_count=4)
