import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.metrics.cells import (
    PREDICTED,
    TRUE,
    CellDifferences,
    Cells,
    Placed,
    cell_errors,
    cell_size_px,
)
from buildmap.metrics.histogram import count_by_cell
from buildmap.metrics.instances import count_instances
from buildmap.raster.windows import Window
from buildmap.vector.matching import Matches

WINDOW = Window(col_off=7, row_off=11, width=40, height=30)


class Scene(NamedTuple):
    values: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    counted: NDArray[np.bool_]


def scene(seed: int, window: Window = WINDOW) -> Scene:
    rng = np.random.default_rng(seed)
    shape = window.height, window.width
    return Scene(rng.integers(0, 255, shape, np.uint8), rng.random(shape) < 0.4, rng.random(shape) < 0.7)


def add_rows(cells: Cells, seen: Scene, first: int, last: int) -> None:
    """Add rows `first` to `last` of the compared window."""
    counts, corner = count_by_cell(
        *(part[first:last] for part in seen),
        lowest=127,
        row_off=cells.window.row_off + first,
        col_off=cells.window.col_off,
        cell_px=cells.cell_px,
    )
    cells.add_pixels(counts, *corner)


def count_slowly(seen: Scene, window: Window, cell_px: int) -> dict[tuple[int, int], list[int]]:
    """Count tp, fp, fn, tn pixel by pixel, by cell of the grid."""
    found: dict[tuple[int, int], list[int]] = {}
    for row, col in np.ndindex(seen.truth.shape):
        cell = (window.row_off + row) // cell_px, (window.col_off + col) // cell_px
        counts = found.setdefault(cell, [0, 0, 0, 0])
        if seen.counted[row, col]:
            predicted, true = seen.values[row, col] >= 127, seen.truth[row, col]
            counts[[[3, 2], [1, 0]][int(predicted)][int(true)]] += 1
    return found


def placed(
    rows: list[int], cols: list[int], area_m2: list[float], counted: list[bool] | None = None
) -> Placed:
    return Placed(
        rows=np.array(rows, np.int64),
        cols=np.array(cols, np.int64),
        area_m2=np.array(area_m2, np.float64),
        counted=np.ones(len(rows), np.bool_) if counted is None else np.array(counted, np.bool_),
    )


def matched(*pairs: tuple[int, int]) -> Matches:
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    return Matches(left=left, right=right, iou=np.ones(len(pairs)))


@given(
    cell_px=st.integers(1, 50),
    row_off=st.integers(0, 40),
    col_off=st.integers(0, 40),
    cuts=st.sets(st.integers(1, 29)),
    seed=st.integers(0, 5),
)
@settings(max_examples=60)
def test_any_cut_gives_each_cell_what_a_loop_over_its_pixels_counts(
    cell_px: int, row_off: int, col_off: int, cuts: set[int], seed: int
) -> None:
    window = Window(col_off=col_off, row_off=row_off, width=23, height=30)
    seen, cells = scene(seed, window), Cells.empty(window, cell_px)
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True):
        add_rows(cells, seen, first, last)
    expected = count_slowly(seen, window, cell_px)
    assert cells.pixels.shape[0] * cells.pixels.shape[1] == len(expected)
    for (row, col), counts in expected.items():
        assert cells.pixels[row - cells.first[0], col - cells.first[1]].tolist() == counts
    kept = [counts[:3] for _, counts in sorted(expected.items()) if any(counts)]
    assert cells.pixel_counts().tolist() == kept


@given(cell_px=st.integers(1, 50), row=st.integers(0, 60), col=st.integers(0, 60))
def test_the_windows_of_cells_tile_the_compared_window(cell_px: int, row: int, col: int) -> None:
    window = Window(col_off=col, row_off=row, width=17, height=13)
    cells = Cells.empty(window, cell_px)
    seen = np.zeros((row + 13, col + 17), np.int64)
    for at in np.ndindex(*cells.iou().shape):
        part = cells.window_of(*at)
        assert 0 < part.width <= cell_px and 0 < part.height <= cell_px
        assert part.row_off // cell_px == cells.first[0] + at[0]
        assert (part.row_off + part.height - 1) // cell_px == cells.first[0] + at[0]
        seen[part.row_off : part.row_off + part.height, part.col_off : part.col_off + part.width] += 1
    assert (seen[row:, col:] == 1).all() and seen.sum() == 13 * 17


def test_buildings_go_to_the_cell_of_their_point_with_number_area_and_fate() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=20, height=10), 10)
    prediction = placed([1, 2, 3], [1, 12, 13], [10.0, 20.004, 30.006])
    truth = placed([1, 9, 5], [2, 19, 11], [11.0, 25.0, 7.5])
    cells.add_buildings(prediction, truth, matched((0, 0), (2, 1)))
    assert cells.buildings[..., TRUE].tolist() == [[1, 2]]
    assert cells.buildings[..., PREDICTED].tolist() == [[1, 2]]
    assert cells.area_dm2[..., TRUE].tolist() == [[1100, 3250]]
    assert cells.area_dm2[..., PREDICTED].tolist() == [[1000, 2000 + 3001]]
    assert cells.objects.tolist() == [[[1, 0, 0], [1, 1, 1]]]


@given(data=st.data())
def test_objects_of_all_cells_are_those_of_the_whole(data: st.DataObject) -> None:
    window = Window(col_off=3, row_off=5, width=50, height=40)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, m = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 12))
    sides = [
        placed(
            rng.integers(5, 45, size).tolist(),
            rng.integers(3, 53, size).tolist(),
            rng.random(size).tolist(),
            (rng.random(size) < 0.7).tolist(),
        )
        for size in (n, m)
    ]
    pairs = rng.integers(0, min(n, m) + 1)
    matches = matched(
        *zip(rng.permutation(n)[:pairs].tolist(), rng.permutation(m)[:pairs].tolist(), strict=True)
    )
    cells = Cells.empty(window, data.draw(st.integers(1, 30)))
    cells.add_buildings(*sides, matches)
    whole = count_instances(matches, prediction_counted=sides[0].counted, truth_counted=sides[1].counted)
    assert cells.objects.sum(axis=(0, 1)).tolist() == [whole.tp, whole.fp, whole.fn]
    assert cells.buildings.sum(axis=(0, 1)).tolist() == [sides[1].counted.sum(), sides[0].counted.sum()]


def test_what_does_not_count_may_lie_anywhere_and_changes_nothing() -> None:
    cells = Cells.empty(WINDOW, 10)
    far = placed([-5, 12], [1000, 8], [math.nan, 5.0], [False, False])
    cells.add_buildings(far, far, matched((0, 0)))
    assert not cells.buildings.any() and not cells.area_dm2.any() and not cells.objects.any()
    assert cells.area_known


@pytest.mark.parametrize(("row", "col"), [(10, 20), (41, 20), (20, 6), (20, 47)])
def test_a_building_that_counts_outside_the_window_is_a_mistake(row: int, col: int) -> None:
    outside = placed([row], [col], [1.0])
    with pytest.raises(ValueError, match="outside"):
        Cells.empty(WINDOW, 10).add_buildings(outside, placed([], [], []), matched())


@pytest.mark.parametrize(("row", "col", "size"), [(0, 0, 1), (-3, 0, 3), (1, -1, 2), (4, 4, 1), (1, 0, 9)])
def test_pixels_outside_the_window_are_a_mistake(row: int, col: int, size: int) -> None:
    cells = Cells.empty(WINDOW, 10)
    assert cells.first == (1, 0)
    with pytest.raises(ValueError, match="leave"):
        cells.add_pixels(np.ones((size, 1, 4), np.int64), row, 5 if (row, col) == (4, 4) else col)


def test_cells_need_pixels() -> None:
    with pytest.raises(ValueError, match="a cell of 0 pixels"):
        Cells.empty(WINDOW, 0)


def test_errors_are_those_of_the_direct_formulas() -> None:
    rng = np.random.default_rng(4)
    window = Window(col_off=5, row_off=5, width=60, height=60)
    cells, seen = Cells.empty(window, 8), scene(1, window)
    seen.counted[:20] = False
    add_rows(cells, seen, 0, 60)
    sides = [
        placed(
            rng.integers(25, 65, n).tolist(), rng.integers(5, 65, n).tolist(), (rng.random(n) * 500).tolist()
        )
        for n in (70, 50)
    ]
    cells.add_buildings(*sides, matched())
    found = {cell: [0.0, 0.0] for cell, counts in count_slowly(seen, window, 8).items() if any(counts)}
    for side, sign in zip(sides, (1, -1), strict=True):
        for row, col, area in zip(side.rows, side.cols, side.area_m2, strict=True):
            found[row // 8, col // 8][0] += sign
            found[row // 8, col // 8][1] += sign * area
    count, area_m2 = np.array(list(found.values())).T
    assert 10 < len(found) < cells.iou().size
    errors = cell_errors(cells.differences(), cell_m=4.0)
    assert (errors.cell_m, errors.cells) == (4.0, len(found))
    assert errors.count_mae == pytest.approx(np.abs(count).mean(), rel=1e-12)
    assert errors.count_bias == pytest.approx(count.mean(), rel=1e-12)
    assert errors.count_rmse == pytest.approx(np.sqrt((count**2).mean()), rel=1e-12)
    step_m2 = 0.01 * 5  # areas are rounded to square decimetres, building by building
    assert errors.area_mae_m2 == pytest.approx(np.abs(area_m2).mean(), abs=step_m2)
    assert errors.area_bias_m2 == pytest.approx(area_m2.mean(), abs=step_m2)
    assert errors.area_rmse_m2 == pytest.approx(np.sqrt((area_m2**2).mean()), abs=step_m2)


def test_a_map_with_too_many_buildings_has_a_bias_above_zero_and_one_with_too_small_ones_below() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=2, height=1), 1)
    cells.add_pixels(np.array([[[0, 0, 0, 1], [0, 0, 0, 1]]]), 0, 0)
    cells.add_buildings(placed([0, 0, 0], [0, 0, 1], [1, 2, 3]), placed([0, 0], [0, 1], [4, 9]), matched())
    errors = cell_errors(cells.differences(), cell_m=1.0)
    assert (errors.count_mae, errors.count_bias, errors.count_rmse) == (0.5, 0.5, math.sqrt(0.5))
    assert (errors.area_mae_m2, errors.area_bias_m2) == (3.5, -3.5)
    assert errors.area_rmse_m2 == math.sqrt((1 + 36) / 2)


def test_squares_of_areas_that_overflow_64_bits_are_summed_exactly() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=4, height=1), 1)
    cells.add_pixels(np.ones((1, 4, 4), np.int64), 0, 0)
    cells.area_dm2[0, :, PREDICTED] = [2**33 + 1, 2**33 + 1, 0, 2**32]
    cells.area_dm2[0, :, TRUE] = [0, 0, 3, 2**33]
    assert cells.differences().area_squared_dm4 == 2 * (2**33 + 1) ** 2 + 9 + 2**64


def test_differences_of_several_windows_add_up() -> None:
    one, two = Cells.empty(WINDOW, 10), Cells.empty(WINDOW, 10)
    for cells, rows in ((one, [12, 13]), (two, [35])):
        add_rows(cells, scene(2), 0, 30)
        cells.add_buildings(placed(rows, [8] * len(rows), [3.0] * len(rows)), placed([], [], []), matched())
    total = sum((one.differences(), two.differences()), CellDifferences())
    assert total.cells == 2 * one.differences().cells
    assert (total.count_off, total.count_more, total.count_squared) == (3, 3, 5)
    assert (total.area_off_dm2, total.area_more_dm2, total.area_squared_dm4) == (900, 900, 600**2 + 300**2)


def test_without_areas_or_without_ground_errors_are_nan() -> None:
    cells = Cells.empty(WINDOW, 10)
    add_rows(cells, scene(2), 0, 30)
    cells.add_buildings(placed([12, 13], [8, 8], [3.0, math.nan]), placed([], [], []), matched())
    known = Cells.empty(WINDOW, 10).differences()
    for total in (cells.differences() + known, known + cells.differences()):
        errors = cell_errors(total, cell_m=10)
        assert errors.count_mae > 0
        assert all(map(math.isnan, (errors.area_mae_m2, errors.area_bias_m2, errors.area_rmse_m2)))
    nothing = cell_errors(CellDifferences(), cell_m=10)
    assert nothing.cells == 0
    assert all(map(math.isnan, (nothing.count_mae, nothing.count_bias, nothing.count_rmse)))


def test_the_map_of_iou_is_nan_where_there_is_no_building() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=3, height=1), 1)
    cells.add_pixels(np.array([[[3, 1, 2, 9], [0, 0, 0, 7], [0, 4, 0, 1]]]), 0, 0)
    np.testing.assert_array_equal(cells.iou(), [[0.5, np.nan, 0.0]])
    assert cells.counted.tolist() == [[True, True, True]]
    assert cells.object_counts().tolist() == [[0, 0, 0]] * 3


def test_the_worst_cells_come_first_and_equal_ones_in_the_order_of_reading() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=30, height=20), 10)
    wrong = np.array([[5, 9, 0], [9, 5, 1]])
    counts = np.zeros((2, 3, 4), np.int64)
    counts[..., 1] = wrong // 2
    counts[..., 2] = wrong - wrong // 2
    counts[..., 0] = 50
    cells.add_pixels(counts, 0, 0)
    assert cells.worst(2) == [(0, 1), (1, 0)]
    assert cells.worst(9) == [(0, 1), (1, 0), (0, 0), (1, 1), (1, 2)]


def test_among_many_equal_cells_the_order_is_still_that_of_reading() -> None:
    counts = np.zeros((40, 50, 4), np.int64)
    counts[..., 1] = np.random.default_rng(1).integers(0, 4, (40, 50))
    cells = Cells.empty(Window(col_off=0, row_off=0, width=50, height=40), 1)
    cells.add_pixels(counts, 0, 0)
    wrong = [(-int(counts[row, col, 1]), row, col) for row, col in np.ndindex(40, 50) if counts[row, col, 1]]
    assert cells.worst(2000) == [(row, col) for _, row, col in sorted(wrong)]


def test_a_country_fits_into_memory_and_large_cells_do_not_overflow() -> None:
    cells = Cells.empty(Window(col_off=0, row_off=0, width=100, height=100), 1)
    held = cells.pixels, cells.buildings, cells.area_dm2, cells.objects
    assert sum(part.nbytes for part in held) == 52 * 100 * 100
    large = Cells.empty(Window(col_off=0, row_off=0, width=2, height=2), 50_000)
    large.add_pixels(np.full((1, 1, 4), 2**31, np.int64), 0, 0)
    assert large.pixels.tolist() == [[[2**31] * 4]]


@pytest.mark.parametrize(("gsd_m", "cell_m", "pixels"), [(0.3, 500, 1667), (0.5, 100, 200), (10, 4, 1)])
def test_a_cell_has_whole_pixels_and_at_least_one(gsd_m: float, cell_m: float, pixels: int) -> None:
    assert cell_size_px(gsd_m, cell_m) == pixels
