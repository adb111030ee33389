"""Window plans: see also tests/property/test_windows_cover.py."""

import pytest

from buildmap.raster.windows import WindowPlan, plan_windows


def test_strips_are_full_rows_of_cores_from_top_to_bottom() -> None:
    plan = WindowPlan(width=50, height=45, core_px=20, halo_px=4, rows_per_strip=2)
    assert (plan.columns, plan.rows, plan.strips) == (3, 3, 2)
    assert [[len(row) for row in plan.strip(index)] for index in (0, 1)] == [[3, 3], [3]]
    assert [row[0].core.row_off for row in plan.strip(0)] == [0, 20]
    assert [window.core.width for window in plan.strip(1)[0]] == [20, 20, 10]
    assert [plan.span(index) for index in (0, 1)] == [(0, 40), (40, 45)]
    assert [plan.windows(index) for index in (0, 1)] == [6, 3]
    assert [w for i in (0, 1) for row in plan.strip(i) for w in row] == list(plan)


@pytest.mark.parametrize(("width", "core_px", "halo_px"), [(0, 5, 0), (5, 0, 0), (5, 5, -1)])
def test_nonsense_is_refused(width: int, core_px: int, halo_px: int) -> None:
    with pytest.raises(ValueError, match="bad window plan"):
        list(plan_windows(width=width, height=5, core_px=core_px, halo_px=halo_px))
