"""Two maps of the same ground."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from buildmap.errors import InputError
from buildmap.metrics.paired import FEWEST_IMAGES, compare_maps
from buildmap.raster.windows import Window
from tests.unit.metrics.findings import findings, grid


def counts(rng: np.random.Generator, better: int, shape: tuple[int, ...] = (6, 7)) -> NDArray[np.int64]:
    """Draw tp, fp, fn, tn of the pixels of cells, all with some building."""
    drawn = rng.integers(1, 40, (*shape, 4))
    drawn[..., 0] += better
    return drawn


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def reference(ours: NDArray[np.int64], others: NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    """Give mean difference and p value of the scores of (n, 6) counts, corrected by Holm's steps."""
    found = {}
    for name, first, factor in (("iou", 0, 1), ("f1", 0, 2), ("object_f1", 3, 2)):
        sides = []
        for table in (ours, others):
            tp, wrong = factor * table[:, first], table[:, first + 1] + table[:, first + 2]
            sides.append(ratio(tp, tp + wrong))
        difference = (sides[0] - sides[1])[~np.isnan(sides[0] - sides[1])]
        test = wilcoxon(np.round(difference, 12), zero_method="wilcox")
        found[name] = (float(difference.mean()), float(test.pvalue))
    ordered = sorted(found, key=lambda name: found[name][1])
    corrected, lowest = {}, 0.0
    for step, name in enumerate(ordered):
        lowest = max(lowest, min(found[name][1] * (len(ordered) - step), 1.0))
        corrected[name] = (found[name][0], lowest)
    return corrected


def test_cells_are_compared_by_wilcoxon_with_holms_correction() -> None:
    rng = np.random.default_rng(1)
    pixels = [counts(rng, better) for better in (20, 0)]
    objects = [rng.integers(0, 4, (6, 7, 3)) for _ in range(2)]
    ours, others = (findings(*side) for side in zip(pixels, objects, strict=True))
    tests = compare_maps([ours], [others], seed=0)
    tables = [
        np.concatenate([p[..., :3].reshape(-1, 3), o.reshape(-1, 3)], axis=1)
        for p, o in zip(pixels, objects, strict=True)
    ]
    wanted = reference(*tables)
    assert list(tests) == ["iou", "f1", "object_f1"]
    assert {test.units for test in tests.values()} == {"cells"}
    for name, (mean, p_value) in wanted.items():
        assert tests[name].mean_difference == pytest.approx(mean)
        assert tests[name].p_value == pytest.approx(p_value)
    assert tests["iou"].n == 42
    assert tests["iou"].p_value < 0.05
    assert tests["iou"].effect_size > 0


def test_from_six_pairs_on_images_are_compared_as_wholes() -> None:
    rng = np.random.default_rng(2)
    sides = [[(counts(rng, better), rng.integers(1, 5, (6, 7, 3))) for _ in range(8)] for better in (5, 0)]
    tests = compare_maps(*[[findings(*one) for one in side] for side in sides], seed=0)
    tables = [
        np.array([[*p[..., :3].sum(axis=(0, 1)), *o.sum(axis=(0, 1))] for p, o in side]) for side in sides
    ]
    assert FEWEST_IMAGES == 6
    for name, (mean, p_value) in reference(*tables).items():
        assert (tests[name].units, tests[name].n) == ("images", 8)
        assert tests[name].mean_difference == pytest.approx(mean)
        assert tests[name].p_value == pytest.approx(p_value)


@pytest.mark.parametrize("images", [1, 5, 6, 9])
def test_a_map_is_no_better_than_itself(images: int) -> None:
    rng = np.random.default_rng(3)
    ours = [findings(counts(rng, 0), rng.integers(0, 4, (6, 7, 3))) for _ in range(images)]
    for test in compare_maps(ours, ours, seed=0).values():
        assert test.units == ("images" if images >= 6 else "cells")
        assert (test.p_value, test.p_greater, test.effect_size, test.mean_difference) == (1, 1, 0, 0)
        assert test.ties == test.n > 0


def test_the_worse_map_loses() -> None:
    better, worse = np.tile([30, 1, 1, 68], (4, 5, 1)), np.tile([15, 1, 16, 68], (4, 5, 1))
    worse[..., 1] += np.arange(20).reshape(4, 5)
    test = compare_maps([findings(worse)], [findings(better)], seed=0)["iou"]
    assert (test.wins, test.losses, test.effect_size) == (0, 20, -1)
    assert test.mean_difference < 0
    assert test.p_value < 1e-3
    assert test.p_greater == 1


def test_buildings_are_compared_if_only_one_map_has_any() -> None:
    pixels, none = np.tile([0, 5, 0, 95], (4, 5, 1)), np.tile([0, 0, 0, 100], (4, 5, 1))
    invented = np.tile([0, 1, 0], (4, 5, 1))
    tests = compare_maps([findings(pixels, invented)], [findings(none)], seed=0)
    assert tests["object_f1"].n == 0  # nothing in nothing is no score
    assert np.isnan(tests["object_f1"].mean_difference)
    assert "object_f1" not in compare_maps([findings(pixels)], [findings(none)], seed=0)


def test_only_cells_that_both_maps_saw_are_compared() -> None:
    rng = np.random.default_rng(4)
    ours, others = counts(rng, 4), counts(rng, 0)
    ours[0], others[:, 0] = 0, 0
    both = compare_maps([findings(ours)], [findings(others)], seed=0)
    cut = compare_maps([findings(ours[1:, 1:])], [findings(others[1:, 1:])], seed=0)
    assert both == cut
    assert both["iou"].n == 5 * 6


def test_maps_of_other_windows_of_one_grid_are_compared_where_they_meet() -> None:
    rng = np.random.default_rng(5)
    ours, others, on = counts(rng, 4), counts(rng, 0), grid(6, 7)
    left = Window(col_off=0, row_off=10, width=50, height=50)
    right = Window(col_off=20, row_off=0, width=50, height=40)
    parts = compare_maps(
        [findings(ours[1:, :5], on=on, window=left)], [findings(others[:4, 2:], on=on, window=right)], seed=0
    )
    assert parts == compare_maps([findings(ours[1:4, 2:5])], [findings(others[1:4, 2:5])], seed=0)
    assert parts["iou"].n == 9
    apart = Window(col_off=60, row_off=0, width=10, height=60)
    none = compare_maps(
        [findings(ours[1:, :5], on=on, window=left)], [findings(others[:, 6:], on=on, window=apart)], seed=0
    )
    assert none["iou"].n == 0


def test_cells_of_different_grids_are_refused_and_images_are_not() -> None:
    pixels = counts(np.random.default_rng(6), 0)
    ours, others = findings(pixels), findings(pixels, on=grid(6, 7, col_off=3))
    with pytest.raises(InputError, match="different grids") as refused:
        compare_maps([ours], [others], seed=0)
    assert "raster" in str(refused.value.hint)
    assert compare_maps([ours] * 6, [others] * 6, seed=0)["iou"].p_value == 1
    close = replace(ours.grid, transform=ours.grid.transform.translation(1e-7, 0) @ ours.grid.transform)
    assert compare_maps([ours], [replace(ours, grid=close)], seed=0)["iou"].n == 42


def test_the_draws_follow_from_the_seed() -> None:
    rng = np.random.default_rng(7)
    sides = [findings(counts(rng, 3))], [findings(counts(rng, 0))]
    one, same, other = (compare_maps(*sides, seed=seed)["iou"] for seed in (1, 1, 2))
    assert one == same
    assert (one.low, one.high) != (other.low, other.high)
    assert one.p_value == other.p_value
