from contextlib import suppress

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.data.split import overlap, scale_window, split_ground
from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window

sides = st.integers(1, 700)


@settings(max_examples=80)
@given(
    width=sides,
    height=sides,
    chip_px=st.integers(4, 64),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_every_pixel_is_for_training_or_for_validation_and_never_both(
    width: int, height: int, chip_px: int, share: float, seed: int
) -> None:
    whole = Window(col_off=3, row_off=5, width=width, height=height)
    ground = split_ground(whole, chip_px=chip_px, share=share, rng=np.random.default_rng(seed))
    seen = np.zeros((5 + height + 3, 3 + width + 3), np.int64)
    for window in ground.train + ground.validation:
        seen[
            window.row_off : window.row_off + window.height,
            window.col_off : window.col_off + window.width,
        ] += 1
    assert (seen[5 : 5 + height, 3 : 3 + width] == 1).all()
    assert seen.sum() == width * height
    assert ground.train
    assert ground.validation or width == height == 1


@given(native=st.integers(2, 5000), working=st.integers(1, 9000), cut=st.integers(1, 4999))
def test_neighbouring_native_windows_share_no_working_pixel(native: int, working: int, cut: int) -> None:
    cut = cut % (native - 1) + 1
    grids = [
        Grid(width=side, height=side, transform=Affine.identity(), crs=None) for side in (native, working)
    ]
    windows = []
    for left, width in ((0, cut), (cut, native - cut)):
        with suppress(ValueError):  # smaller than one pixel at the working GSD
            windows.append(scale_window((left, 0, width, native), *grids))
    assert windows or working == 1
    assert len(windows) < 2 or not overlap(*windows)
    assert all(window.col_off + window.width <= working for window in windows)
