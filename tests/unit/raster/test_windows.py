"""Window plans: see also tests/property/test_windows_cover.py."""

import pytest

from buildmap.raster.windows import plan_strips, plan_windows


def test_strips_are_full_rows_of_cores_from_top_to_bottom() -> None:
    strips = list(plan_strips(width=50, height=45, core_px=20, halo_px=4))
    assert [len(strip) for strip in strips] == [3, 3, 3]
    assert [strip[0].core.row_off for strip in strips] == [0, 20, 40]
    assert [w.core.width for w in strips[0]] == [20, 20, 10]


@pytest.mark.parametrize(("width", "core_px", "halo_px"), [(0, 5, 0), (5, 0, 0), (5, 5, -1)])
def test_nonsense_is_refused(width: int, core_px: int, halo_px: int) -> None:
    with pytest.raises(ValueError, match="bad window plan"):
        list(plan_windows(width=width, height=5, core_px=core_px, halo_px=halo_px))
