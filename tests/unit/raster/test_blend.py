"""The ramp and the sums, by hand."""

import numpy as np
import pytest

from buildmap.raster.blend import (
    INVALID,
    ONE,
    StripBuffer,
    accumulate,
    enlarge,
    finish,
    handover,
    ramp_width,
    share,
    weigh,
)
from buildmap.raster.windows import WindowPlan


def test_the_raster_border_does_not_taper_and_the_core_border_is_half() -> None:
    first, weights = handover(0, 10, 30, 4)
    assert first == 0
    assert (weights[:8] == 1).all()
    assert len(weights) == 12
    assert weights[9] + weights[10] == pytest.approx(1)
    assert weights[9] > 0.5 > weights[10]


def test_a_share_is_the_core_and_half_a_ramp_where_a_neighbour_follows() -> None:
    plan = WindowPlan(width=40, height=70, core_width_px=20, core_height_px=20, halo_px=8)
    middle = share(plan.strip(1)[0][0], width=40, height=70, ramp_px=4)
    assert (middle.window.row_off, middle.window.height, middle.above, middle.below) == (26, 24, 4, 4)
    assert (middle.window.col_off, middle.window.width) == (0, 30)
    assert middle.cut == (slice(6, 30), slice(0, 30))
    last = share(plan.strip(2)[0][1], width=40, height=70, ramp_px=4)
    assert (last.window.row_off, last.window.height, last.above, last.below) == (46, 24, 4, 0)


def test_the_ramp_goes_from_one_window_to_the_next() -> None:
    plan = WindowPlan(width=40, height=10, core_width_px=20, core_height_px=20, halo_px=8)
    buffer = StripBuffer(width=40, ramp_px=4, threshold=0.5)
    for planned, value in zip(plan.strip(0)[0], (0.2, 0.8), strict=True):
        placed = share(planned, width=40, height=10, ramp_px=4)
        probability = np.full((10, placed.window.width), value, np.float32)
        buffer.add(placed, weigh(probability, placed.down[:, None] * placed.across))
    buffer.end_row()
    rows = buffer.part().rows
    assert rows.shape == (10, 40)
    assert (rows[:, :26] == round(0.2 * 254)).all()
    assert (rows[:, 30:] == round(0.8 * 254)).all()
    assert (np.diff(rows[0, 25:31].astype(int)) > 0).all()
    assert buffer.seams.pixels == buffer.seams.flips == 10
    assert buffer.seams.disagreement == pytest.approx(10 * 0.6, abs=0.01)
    assert buffer.seams.inner_difference == 0


def test_a_pixel_without_data_in_one_window_has_none_in_the_sum() -> None:
    sums = np.array([0, 100, INVALID, INVALID], np.uint16)
    accumulate(sums, np.array([7, INVALID, 100, INVALID], np.uint16))
    assert sums.tolist() == [7, INVALID, INVALID, INVALID]
    assert finish(sums).tolist() == [0, 255, 255, 255]


def test_probability_becomes_254_steps() -> None:
    probability = np.array([0, 1, 0.5, 0.2], np.float32)
    assert finish(weigh(probability, np.ones(4, np.float32))).tolist() == [0, 254, 127, 51]
    assert weigh(np.ones(1, np.float32), np.ones(1, np.float32)).tolist() == [ONE]


def test_the_ramp_is_even_and_within_the_halo() -> None:
    assert [ramp_width(halo) for halo in (0, 1, 33, 64, 192)] == [0, 0, 32, 64, 64]


def test_a_strip_without_rows_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="no row of cores"):
        StripBuffer(width=4, ramp_px=0, threshold=0.5).part()


def test_every_pixel_is_repeated_down_and_across() -> None:
    pixels = np.random.default_rng(0).random((3, 5)) < 0.5
    np.testing.assert_array_equal(enlarge(pixels, 3), np.kron(pixels, np.ones((3, 3))) == 1)
    assert enlarge(pixels, 1) is pixels
