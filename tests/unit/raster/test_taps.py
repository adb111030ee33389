"""The compiled loop against whole matrices."""

import numpy as np

from buildmap.raster.taps import weigh


def test_sums_are_matrix_products() -> None:
    rng = np.random.default_rng(0)
    source = rng.random((9, 11)).astype(np.float32)
    row_taps, col_taps = rng.integers(0, 9, (5, 3)), rng.integers(0, 11, (4, 2))
    row_weights = rng.random((5, 3)).astype(np.float32)
    col_weights = rng.random((4, 2)).astype(np.float32)
    down, across = np.zeros((5, 9)), np.zeros((4, 11))
    np.add.at(down, (np.arange(5)[:, None], row_taps), row_weights)
    np.add.at(across, (np.arange(4)[:, None], col_taps), col_weights)
    made = np.empty((5, 4), np.float32)
    weigh(source, row_taps, row_weights, col_taps, col_weights, made)
    np.testing.assert_allclose(made, down @ source @ across.T, rtol=1e-5)
