"""Numbers as the network was trained to see them."""

from dataclasses import replace

import numpy as np
import pytest

from buildmap.preset import find_preset
from buildmap.raster.normalize import normalize
from buildmap.raster.reader import Image

DATA = replace(find_preset("lite").data, mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_values_are_scaled_by_type_then_standardized(dtype: str, full: int) -> None:
    pixels = (np.full((3, 2, 2), 0.8) * full).astype(dtype)
    got = normalize(Image(pixels=pixels, valid=np.ones((2, 2), np.bool_)), DATA)
    share = pixels[0, 0, 0] / full
    np.testing.assert_allclose(got[:, 0, 0], [(share - 0.5) / 0.25, (share - 0.25) / 0.5, share], rtol=1e-5)
    assert got.dtype == np.float32


def test_invalid_pixels_become_the_mean_whatever_they_held() -> None:
    pixels = np.full((3, 2, 2), np.nan, np.float32)
    valid = np.array([[True, False], [True, True]])
    pixels[:, valid] = 0.5
    got = normalize(Image(pixels=pixels, valid=valid), DATA)
    assert (got[:, 0, 1] == 0).all()
    assert np.isfinite(got).all()
