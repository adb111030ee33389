"""Where a window lies on the raster's own pixels."""

import numpy as np
import pytest

from buildmap.errors import InputError
from buildmap.raster.grid import Grid
from buildmap.raster.placement import place
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, UTM

NATIVE = Grid(width=401, height=303, transform=ORIGIN, crs=UTM)


@pytest.mark.parametrize("gsd_m", [0.2, 0.5, 1.23])
@pytest.mark.parametrize("bbox", [None, (400_020.3, 4_999_900, 400_101, 4_999_987)])
def test_a_window_needs_the_pixels_it_lies_on(
    gsd_m: float, bbox: tuple[float, float, float, float] | None
) -> None:
    placement = place(NATIVE, gsd_range_m=(gsd_m, gsd_m), bbox=bbox, name="a")
    window = Window(col_off=11, row_off=7, width=23, height=19)
    rows, cols = placement.axes(window, (19, 23), (303, 401))
    left, bottom, right, top = placement.grid.part(window).bounds
    ends = [~ORIGIN @ (left, top), ~ORIGIN @ (right, bottom)]
    reach = 1.01 if gsd_m < 0.5 else 1e-6  # between centres, a pixel beyond is needed
    assert abs(cols.start - np.floor(ends[0][0] + 1e-6)) <= reach
    assert abs(rows.stop - np.ceil(ends[1][1] - 1e-6)) <= reach
    first_row, first_col, end_row, end_col = placement.box(window, (303, 401), 1)
    assert first_row <= rows.start < rows.stop <= end_row
    assert first_col <= cols.start < cols.stop <= end_col
    width, height = placement.size(window, (19, 23))
    assert width == pytest.approx(placement.whole.width)
    assert height == pytest.approx(placement.whole.height)


def test_windows_of_an_overview_are_found_on_the_raster() -> None:
    placement = place(NATIVE, gsd_range_m=(2.0, 2.0), bbox=None, name="a")
    first_row, first_col, end_row, end_col = placement.box(
        Window(col_off=10, row_off=10, width=5, height=5), (76, 101), 0
    )
    assert (first_row, first_col) == (39, 39)
    assert (end_row, end_col) == (60, 64)  # the overview has one column more than the grid, 101 for 100


def test_what_is_out_of_reach_is_told_with_the_name() -> None:
    with pytest.raises(InputError, match=r"a\.tif: the GSD is 0.5 m"):
        place(NATIVE, gsd_range_m=(999, 1000), bbox=None, name="a.tif")
    with pytest.raises(InputError, match=r"a\.tif: the box \(5, 5, 5, 9\) is empty"):
        place(NATIVE, gsd_range_m=None, bbox=(5, 5, 5, 9), name="a.tif")


@pytest.mark.parametrize("align_px", [1, 8, 32])
def test_what_is_kept_begins_at_a_multiple_of_the_whole_working_grid_and_ends_as_asked(align_px: int) -> None:
    bbox = (400_020.3, 4_999_900, 400_101, 4_999_987)
    whole = place(NATIVE, gsd_range_m=(0.7, 0.7), bbox=None, name="a").grid
    asked = whole.window_of(bbox)
    placement = place(NATIVE, gsd_range_m=(0.7, 0.7), bbox=bbox, name="a", align_px=align_px)
    assert (placement.col_off % align_px, placement.row_off % align_px) == (0, 0)
    assert 0 <= asked.col_off - placement.col_off < align_px
    assert 0 <= asked.row_off - placement.row_off < align_px
    assert placement.col_off + placement.grid.width == asked.col_off + asked.width
    assert placement.row_off + placement.grid.height == asked.row_off + asked.height
    assert placement.grid == whole.part(asked.begin_at_multiple(align_px))
