"""Blending is the identity on windows that agree, whatever the sizes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from buildmap.raster.blend import BlendBuffer, handover
from buildmap.raster.windows import plan_strips


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    core_px=st.integers(8, 40),
    half_px=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_windows_that_agree_give_back_the_whole(
    width: int, height: int, core_px: int, half_px: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.random((height, width), np.float32)
    whole[rng.random((height, width)) < 0.1] = np.nan
    blend = BlendBuffer(width=width, height=height, ramp_px=2 * half_px)
    rows = []
    for strip in plan_strips(width=width, height=height, core_px=core_px, halo_px=2 * half_px):
        for planned in strip:
            read = planned.read
            part = whole[read.row_off : read.row_off + read.height, read.col_off : read.col_off + read.width]
            blend.add(planned, None if np.isnan(part).all() else part)
        rows.append(blend.end_strip())
    np.testing.assert_allclose(np.concatenate(rows), whole, atol=1e-6)


@given(core_px=st.integers(8, 40), half_px=st.integers(1, 4), extent=st.integers(1, 200))
def test_weights_of_neighbours_add_up_to_one(core_px: int, half_px: int, extent: int) -> None:
    total = np.zeros(extent, np.float32)
    for start in range(0, extent, core_px):
        first, weights = handover(start, min(start + core_px, extent), extent, 2 * half_px)
        total[first : first + len(weights)] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
