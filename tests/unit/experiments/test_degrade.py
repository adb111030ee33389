from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats

from buildmap.errors import InputError
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.experiments.degrade import DegradedReader, Sensor, write_degraded
from tests.scenes import ORIGIN, write_raster

ROWS, COLS = 130, 167
PLAIN = Sensor(scale=4, mtf_nyquist=0.3)
NOISY = Sensor(scale=4, mtf_nyquist=0.3, noise=0.02, seed=5)


def _image(dtype: str = "uint8", bands: int = 3) -> NDArray[np.generic]:
    pixels = np.random.default_rng(0).uniform(20, 235, (bands, ROWS, COLS))
    return (pixels * (200 if dtype == "uint16" else 1)).astype(dtype)


@pytest.fixture
def raster(tmp_path: Path) -> Iterator[RasterReader]:
    with RasterReader(write_raster(tmp_path / "a.tif", _image())) as reader:
        yield reader


def _by_scipy(pixels: NDArray[np.generic], sensor: Sensor) -> NDArray[np.float64]:
    """Blur a whole image, then average squares of pixels."""
    scale = sensor.scale
    rows, cols = pixels.shape[1] // scale, pixels.shape[2] // scale
    blurred = np.stack(
        [
            ndimage.gaussian_filter(band.astype(float), sensor.sigma_px, mode="nearest", truncate=6)
            for band in pixels
        ]
    )
    whole = blurred[:, : rows * scale, : cols * scale]
    return np.asarray(whole.reshape(-1, rows, scale, cols, scale).mean(axis=(2, 4)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("scale", [2, 3, 4, 7])
def test_the_image_is_blurred_and_averaged(tmp_path: Path, dtype: str, scale: int) -> None:
    sensor = Sensor(scale=scale, mtf_nyquist=0.2)
    pixels = _image(dtype)
    with DegradedReader(RasterReader(write_raster(tmp_path / "a.tif", pixels)), sensor) as degraded:
        seen = degraded.read(degraded.grid.window)
    assert seen.pixels.dtype == pixels.dtype and seen.valid.all()
    expected = _by_scipy(pixels, sensor)
    assert seen.pixels.shape == expected.shape == (3, ROWS // scale, COLS // scale)
    rounding = 0 if dtype == "float32" else 0.5
    np.testing.assert_allclose(seen.pixels, expected, rtol=2e-4, atol=rounding + 1e-3)


@pytest.mark.parametrize("scale", [2, 4, 5, 10])
@pytest.mark.parametrize("mtf", [0.1, 0.25, 0.6])
def test_stripes_one_pixel_wide_keep_the_contrast_that_was_asked_for(
    tmp_path: Path, scale: int, mtf: float
) -> None:
    sensor = Sensor(scale=scale, mtf_nyquist=mtf)
    places = np.arange(40 * scale) + 0.5
    wave = np.sin(np.pi * places / scale).astype(np.float32)  # a period is two pixels of the sensor
    for pixels in (np.tile(wave, (40 * scale, 1)), np.tile(wave[:, None], 40 * scale)):
        path = write_raster(tmp_path / "a.tif", pixels)
        with DegradedReader(RasterReader(path), sensor) as degraded:
            seen = degraded.read(Window(col_off=10, row_off=10, width=20, height=20)).pixels
        kept = np.ptp(seen) / 2
        assert kept == pytest.approx(mtf, rel=0.005)


def test_without_blur_a_pixel_is_the_mean_of_those_it_covers(raster: RasterReader) -> None:
    sharp = Sensor(scale=4, mtf_nyquist=Sensor(scale=4).averaging_mtf)
    assert sharp.sigma_px == pytest.approx(0, abs=1e-6)
    seen = DegradedReader(raster, sharp).read(Window(col_off=0, row_off=0, width=41, height=32)).pixels
    mean = _image()[:, :128, :164].reshape(3, 32, 4, 41, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(seen, mean, atol=0.5 + 1e-4)


def test_pixels_lie_on_the_ground_of_those_they_are_made_of(raster: RasterReader) -> None:
    grid = DegradedReader(raster, PLAIN).grid
    assert (grid.width, grid.height, grid.crs) == (41, 32, raster.grid.crs)
    assert grid.transform == ORIGIN @ Affine.scale(4)
    assert grid.transform @ (41, 32) == ORIGIN @ (164, 128)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_window_is_the_part_of_the_whole_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 31))
    width, height = data.draw(st.integers(1, 41 - left)), data.draw(st.integers(1, 32 - top))
    path = write_raster(tmp_path_factory.mktemp("degrade") / "a.tif", _image())
    with DegradedReader(RasterReader(path), NOISY) as degraded:
        whole = degraded.read(degraded.grid.window).pixels
        part = degraded.read(Window(col_off=left, row_off=top, width=width, height=height)).pixels
    np.testing.assert_array_equal(part, whole[:, top : top + height, left : left + width])


def test_a_large_window_is_made_in_parts_that_agree(
    raster: RasterReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    degraded = DegradedReader(raster, NOISY)
    whole = degraded.read(degraded.grid.window).pixels
    monkeypatch.setattr("buildmap.raster.resample._PART_PX", 4000)
    np.testing.assert_array_equal(degraded.read(degraded.grid.window).pixels, whole)


def test_noise_is_normal_as_strong_as_asked_and_unlike_in_every_place(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((2, 400, 400), 0.5, np.float32))
    with DegradedReader(RasterReader(path), replace(NOISY, noise=0.03)) as degraded:
        noise = (degraded.read(degraded.grid.window).pixels - 0.5) / 0.03
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    first, second = noise
    neighbours = [(first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    for one, other in neighbours:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.04


def test_noise_of_whole_numbers_is_a_share_of_their_range(tmp_path: Path) -> None:
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        path = write_raster(tmp_path / f"{dtype}.tif", np.full((400, 400), top // 2, dtype))
        with DegradedReader(RasterReader(path), NOISY) as degraded:
            spread = degraded.read(degraded.grid.window).pixels.astype(float).std()
        assert spread == pytest.approx(0.02 * top, rel=0.03)


def test_noise_does_not_leave_the_range_of_the_type(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((40, 40), 255, np.uint8))
    with DegradedReader(RasterReader(path), NOISY) as degraded:
        pixels = degraded.read(degraded.grid.window).pixels
    assert pixels.min() > 200 and (pixels == 255).mean() > 0.4


def test_noise_follows_from_the_seed(raster: RasterReader) -> None:
    window = Window(col_off=3, row_off=4, width=20, height=20)
    first, again, other = (
        DegradedReader(raster, replace(NOISY, seed=seed)).read(window).pixels for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_threads_read_the_same(raster: RasterReader) -> None:
    degraded = DegradedReader(raster, NOISY)
    windows = [Window(col_off=col, row_off=row, width=9, height=8) for col in range(30) for row in (0, 20)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda window: degraded.read(window).pixels, windows))
    alone = [degraded.read(window).pixels for window in windows]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_what_is_not_valid_does_not_spread(tmp_path: Path) -> None:
    pixels = np.full((1, 80, 80), 100, np.uint8)
    pixels[:, :, 40:] = 0
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    with DegradedReader(RasterReader(path), PLAIN) as degraded:
        seen = degraded.read(degraded.grid.window)
    assert seen.valid[:, :10].all() and not seen.valid[:, 10:].any()
    assert (seen.pixels[0, :, :10] == 100).all()


def test_a_degraded_raster_may_be_read_at_other_sizes(raster: RasterReader) -> None:
    degraded = DegradedReader(raster, PLAIN)
    window = Window(col_off=4, row_off=8, width=20, height=12)
    native = degraded.read(window).pixels.astype(float)
    half = degraded.read(window, out_shape=(6, 10)).pixels
    np.testing.assert_allclose(half, native.reshape(3, 6, 2, 10, 2).mean(axis=(2, 4)), atol=0.5001)
    assert degraded.read(window, out_shape=(24, 40)).pixels.shape == (3, 24, 40)


def test_a_written_raster_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.experiments.degrade._PART_PX", 16)
    image = _image()
    image[:, 40:80, 60:100] = 0
    with RasterReader(write_raster(tmp_path / "a.tif", image, nodata=0)) as reader:
        write_degraded(reader, NOISY, tmp_path / "b.tif")
        degraded = DegradedReader(reader, NOISY)
        seen = degraded.read(degraded.grid.window)
    with RasterReader(tmp_path / "b.tif") as written:
        found = written.read(written.grid.window)
        assert written.grid == degraded.grid
    np.testing.assert_array_equal(found.pixels, seen.pixels)
    np.testing.assert_array_equal(found.valid, seen.valid)
    assert 0 < (~seen.valid).sum() < seen.valid.size / 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": 1}, "scale 1"),
        ({"scale": 4, "mtf_nyquist": 0.0}, "mtf_nyquist 0.0"),
        ({"scale": 4, "mtf_nyquist": 0.7}, "0.653, what averaging 4 pixels leaves"),
        ({"scale": 4, "noise": -0.1}, "negative"),
    ],
)
def test_a_sensor_that_makes_no_sense_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sensor(**wrong)


def test_a_raster_smaller_than_a_pixel_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.ones((20, 3), np.uint8))
    with pytest.raises(InputError, match="3 x 20 pixels is smaller than one pixel, 4 times as large"):
        DegradedReader(RasterReader(path), PLAIN)
