"""The ramp, by hand."""

import numpy as np
import pytest

from buildmap.raster.blend import BlendBuffer, handover
from buildmap.raster.windows import plan_strips


def test_the_raster_border_does_not_taper_and_the_core_border_is_half() -> None:
    first, weights = handover(0, 10, 30, 4)
    assert first == 0
    assert (weights[:8] == 1).all()
    assert len(weights) == 12
    assert weights[9] + weights[10] == pytest.approx(1)
    assert weights[9] > 0.5 > weights[10]


def test_pixels_beyond_the_ramp_do_not_count() -> None:
    strip = next(plan_strips(width=40, height=10, core_px=20, halo_px=8))
    blend = BlendBuffer(width=40, height=10, ramp_px=4)
    for planned, value in zip(strip, (0.25, 0.75), strict=True):
        spoiled = np.full((planned.read.height, planned.read.width), 99, np.float32)
        inside = slice(0, 24) if value == 0.25 else slice(4, None)
        spoiled[:, inside] = value
        blend.add(planned, spoiled)
    rows = blend.end_strip()
    assert rows.shape == (10, 40)
    np.testing.assert_allclose(rows[:, :18], 0.25)
    np.testing.assert_allclose(rows[:, 22:], 0.75)
    assert (np.diff(rows[0, 17:23]) > 0).all()
