"""Numbers as the network was trained to see them."""

from dataclasses import replace

import numpy as np
import pytest

from buildmap.preset import find_preset
from buildmap.raster.normalize import fill_invalid, normalize, scale_pixels
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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_filled_before_scaling_is_the_mean_to_half_a_grey_level(dtype: str) -> None:
    pixels = np.full((3, 2, 2), 7, dtype)
    valid = np.array([[True, False], [True, True]])
    filled = fill_invalid(Image(pixels=pixels, valid=valid), DATA)
    assert filled.dtype == pixels.dtype
    np.testing.assert_array_equal(filled[:, valid], pixels[:, valid])
    np.testing.assert_allclose(scale_pixels(filled, DATA)[:, 0, 1], 0, atol=0.51 / 255 / 0.25)


def test_batches_are_scaled_as_single_images() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5), np.uint8)
    batch = scale_pixels(images, DATA)
    for image, scaled in zip(images, batch, strict=True):
        alone = normalize(Image(pixels=image, valid=np.ones((4, 5), np.bool_)), DATA)
        np.testing.assert_array_equal(scaled, alone)
