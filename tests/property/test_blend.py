"""Blending is the identity on windows that agree, whatever the sizes, strips and order."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from buildmap.raster.blend import INVALID, ONE, StripBuffer, StripPart, finish, handover, join, share, weigh
from buildmap.raster.windows import WindowPlan

SIZES = st.integers(1, 90)


def strip_part(plan: WindowPlan, index: int, sums: NDArray[np.uint16], ramp_px: int) -> StripPart:
    """Blend windows that agree on `sums`, from right to left or left to right."""
    buffer = StripBuffer(width=plan.width, ramp_px=ramp_px, threshold=0.5)
    for row in plan.strip(index):
        for planned in row[:: -1 if index % 2 else 1]:
            placed = share(planned, width=plan.width, height=plan.height, ramp_px=ramp_px)
            window = placed.window
            part = sums[
                window.row_off : window.row_off + window.height,
                window.col_off : window.col_off + window.width,
            ]
            summands = weigh((part / ONE).astype(np.float32), placed.down[:, None] * placed.across)
            summands[part == INVALID] = INVALID
            buffer.add(placed, None if (part == INVALID).all() else summands)
        buffer.end_row()
    return buffer.part()


def assembled(plan: WindowPlan, sums: NDArray[np.uint16], ramp_px: int) -> NDArray[np.uint8]:
    parts = [strip_part(plan, index, sums, ramp_px) for index in range(plan.strips)]
    rows = [parts[0].rows]
    for above, below in pairwise(parts):
        rows += [join(above.bottom, below.top), below.rows]
    return np.concatenate(rows)


@given(
    width=SIZES,
    height=SIZES,
    core_px=st.integers(8, 40),
    half_px=st.integers(0, 4),
    rows_per_strip=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_windows_that_agree_give_back_the_whole(
    width: int, height: int, core_px: int, half_px: int, rows_per_strip: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, ONE, (height, width), np.uint16)
    sums[rng.random((height, width)) < 0.1] = INVALID
    plan = WindowPlan(
        width=width, height=height, core_width_px=core_px, core_height_px=core_px + 3, halo_px=2 * half_px
    )
    got = assembled(plan, sums, 2 * half_px)
    expected = finish(sums)
    np.testing.assert_array_equal(got == 255, expected == 255)
    assert np.abs(got.astype(int) - expected).max() <= 1
    taller = replace(plan, rows_per_strip=rows_per_strip)
    np.testing.assert_array_equal(assembled(taller, sums, 2 * half_px), got)


@given(core_px=st.integers(8, 40), half_px=st.integers(1, 4), extent=st.integers(1, 200))
def test_weights_of_neighbours_add_up_to_one(core_px: int, half_px: int, extent: int) -> None:
    total = np.zeros(extent, np.float32)
    for start in range(0, extent, core_px):
        first, weights = handover(start, min(start + core_px, extent), extent, 2 * half_px)
        total[first : first + len(weights)] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
