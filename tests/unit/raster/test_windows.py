"""Window plans: see also tests/property/test_windows_cover.py."""

import pytest

from buildmap.raster.windows import PlannedWindow, Window, WindowPlan, plan_evenly, plan_windows


def test_strips_are_full_rows_of_cores_from_top_to_bottom() -> None:
    plan = WindowPlan(width=50, height=65, core_width_px=20, core_height_px=20, halo_px=4, rows_per_strip=2)
    assert (plan.columns, plan.rows, plan.strips) == (3, 3, 2)
    assert [[len(row) for row in plan.strip(index)] for index in (0, 1)] == [[3, 3], [3]]
    assert [row[0].core.row_off for row in plan.strip(0)] == [0, 24]
    assert [window.core.width for window in plan.strip(1)[0]] == [24, 20, 6]
    assert [plan.span(index) for index in (0, 1)] == [(0, 44), (44, 65)]
    assert [plan.windows(index) for index in (0, 1)] == [6, 3]
    assert [w for i in (0, 1) for row in plan.strip(i) for w in row] == list(plan)


def test_windows_are_of_one_size_up_to_the_last() -> None:
    plan = plan_evenly(width=8192, height=1000, window_px=1536, halo_px=160, stride=32)
    reads = [window.read for window in plan.strip(0)[0]]
    assert (len(reads), plan.rows) == (7, 1)
    assert {read.width for read in reads[:-1]} == {1472}
    assert 1472 - 7 * 32 < reads[-1].width <= 1472
    assert all(read.col_off % 32 == 0 for read in reads)


def test_a_raster_as_large_as_a_window_is_one() -> None:
    plan = plan_evenly(width=128, height=1, window_px=128, halo_px=32, stride=16)
    assert [(window.core, window.read) for window in plan] == [(plan.strip(0)[0][0].core,) * 2]
    assert plan_evenly(width=129, height=1, window_px=128, halo_px=32, stride=16).columns == 2


@pytest.mark.parametrize(("width", "core_px", "halo_px"), [(0, 5, 0), (5, 0, 0), (5, 5, -1)])
def test_nonsense_is_refused(width: int, core_px: int, halo_px: int) -> None:
    with pytest.raises(ValueError, match="bad window plan"):
        list(plan_windows(width=width, height=5, core_px=core_px, halo_px=halo_px))


def test_finer_pixels_cover_the_same_ground() -> None:
    core = Window(col_off=16, row_off=32, width=8, height=4)
    read = core.grow(2, width=24, height=99)
    planned = PlannedWindow(core=core, read=read).scaled(4)
    assert planned.core == Window(col_off=64, row_off=128, width=32, height=16)
    assert planned.read == Window(col_off=56, row_off=120, width=40, height=32)
    assert planned.scaled(1) == planned
