from dataclasses import replace

import numpy as np
import pytest

from buildmap.data.augment import draw_gsd_factor, draw_turn, turn, vary_colors
from buildmap.preset import Augment, Data
from buildmap.raster.normalize import normalize
from buildmap.raster.reader import Image
from tests.unit.data.material import LIVELY, PLAIN, STILL

SQUARE = np.arange(9).reshape(3, 3)


def _layings(augment_changes: dict[str, float]) -> set[bytes]:
    rng = np.random.default_rng(0)
    augment = replace(STILL, **augment_changes)
    drawn = (draw_turn(augment, rng) for _ in range(300))
    return {turn(SQUARE, mirror=mirror, quarters=quarters).tobytes() for mirror, quarters in drawn}


def test_flips_and_quarter_turns_give_all_eight_ways_to_lay_a_square() -> None:
    turned = [np.rot90(SQUARE, k) for k in range(4)]
    eight = {array.tobytes() for array in turned + [array[:, ::-1] for array in turned]}
    assert _layings({"flip": 0.5, "quarter_turns": True}) == eight


def test_flips_alone_never_turn_by_a_quarter() -> None:
    four = [SQUARE, SQUARE[::-1], SQUARE[:, ::-1], SQUARE[::-1, ::-1]]
    assert _layings({"flip": 0.5}) == {array.tobytes() for array in four}


def test_quarter_turns_alone_never_mirror() -> None:
    assert _layings({"quarter_turns": True}) == {np.rot90(SQUARE, k).tobytes() for k in range(4)}


def test_a_half_turn_comes_as_often_as_its_probability_says() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_turn(replace(STILL, half_turn=0.8), rng) for _ in range(1000)]
    assert set(drawn) == {(False, 0), (False, 2)}
    assert sum(quarters == 2 for _, quarters in drawn) == pytest.approx(800, abs=40)


def test_bands_turn_like_a_single_image() -> None:
    bands = np.random.default_rng(0).random((3, 5, 5))
    together = turn(bands, mirror=True, quarters=3)
    assert all(
        np.array_equal(together[band], turn(bands[band], mirror=True, quarters=3)) for band in range(3)
    )


def test_gsd_factors_are_spread_evenly_over_octaves() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_gsd_factor(0.5, 2.0, rng) for _ in range(2000)])
    assert drawn.min() >= 0.5 and drawn.max() <= 2.0
    assert (drawn < 1).mean() == pytest.approx(0.5, abs=0.05)


def _image(dtype: str, low: int = 0, high: int = 256) -> Image:
    rng = np.random.default_rng(0)
    return Image(pixels=rng.integers(low, high, (3, 16, 16)).astype(dtype), valid=np.ones((16, 16), np.bool_))


def _vary(image: Image, augment: Augment, seed: int = 0, data: Data = PLAIN) -> np.ndarray:
    return vary_colors(image, augment, data, np.random.default_rng(seed))


def test_no_change_of_color_only_normalizes() -> None:
    data = replace(PLAIN, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 2.0))
    for dtype in ("uint8", "uint16", "int16", "float32"):
        image = _image(dtype)
        image.valid[3:5] = False
        normal = normalize(image, data)
        same = _vary(image, STILL, data=data)
        assert same.dtype == np.float32
        np.testing.assert_allclose(same, normal, rtol=1e-5, atol=1e-5)
        assert not same[:, ~image.valid].any()


def test_integers_stay_within_their_range_after_the_strongest_change() -> None:
    strong = replace(STILL, brightness=1.0, contrast=1.0, color=1.0)
    data = replace(PLAIN, mean=(0.0, 0.5, 0.5), std=(1.0, 0.5, 0.25))
    drawn = np.stack([_vary(_image("uint8"), strong, seed, data) for seed in range(20)])
    assert drawn.min(axis=(0, 2, 3)).tolist() == [0, -1, -2]
    assert drawn.max(axis=(0, 2, 3)).tolist() == [1, 1, 2]


def test_signed_integers_keep_their_negative_half() -> None:
    image = _image("int16", low=-32768, high=32768)
    changed = _vary(image, replace(STILL, brightness=0.2))
    assert -32768 / 32767 <= changed.min() < -0.7
    assert 0.7 < changed.max() <= 1


def test_brightness_shifts_all_pixels_by_one_amount() -> None:
    image = _image("float32", high=2)
    shift = _vary(image, replace(STILL, brightness=0.5)) - image.pixels
    assert 0 < abs(shift[0, 0, 0]) <= 0.5
    np.testing.assert_allclose(shift, shift[0, 0, 0], atol=1e-6)


def test_contrast_keeps_the_mean_of_a_dark_image() -> None:
    pixels = np.full((1, 16, 16), 1000, np.uint16)
    pixels[:, :, ::2] = 1100
    pixels = np.repeat(np.repeat(pixels, 4, 1), 4, 2)
    image = Image(pixels=pixels, valid=np.ones(pixels.shape[1:], np.bool_))
    gray = replace(PLAIN, bands=(1,), mean=(0.0,), std=(1.0,))
    changed = _vary(image, replace(STILL, contrast=0.5), 1, gray) * 65535
    assert changed.mean() == pytest.approx(1050, rel=1e-3)
    assert np.ptp(changed) != pytest.approx(100, rel=0.05)


def test_gains_differ_between_bands_within_their_limit() -> None:
    image = _image("float32", low=1, high=2)
    changed = _vary(image, replace(STILL, color=0.1))[:, 0, 0]
    assert len(set(changed.tolist())) == 3
    assert (np.abs(changed - 1) <= 0.1).all()


def test_invalid_pixels_are_zero_and_do_not_move_the_contrast() -> None:
    image = _image("float32", high=2)
    spoiled = Image(pixels=image.pixels.copy(), valid=image.valid.copy())
    spoiled.valid[:8] = False
    spoiled.pixels[:, :8] = np.nan
    changed = _vary(spoiled, LIVELY)
    assert np.isfinite(changed[:, 8:]).all() and changed[:, 8:].any()
    assert not changed[:, :8].any()


def test_colors_follow_from_the_generator() -> None:
    one, same, other = (_vary(_image("uint8"), LIVELY, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
