"""The halo's price: equal to predicting whole where it is wide enough, counted by hand where it is not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from buildmap.contract import HaloRow
from buildmap.errors import InputError
from buildmap.execution.progress import Silent
from buildmap.inference.halo import (
    WHOLE_PX,
    choose_row,
    measure_halo,
    most_flips,
    read_large_images,
    whole_side,
)
from buildmap.inference.onnx_backend import OnnxBackend
from buildmap.preset import Source
from buildmap.raster.reader import Image
from tests.networks import make_card, write_onnx
from tests.scenes import write_raster


def image_of(rng: np.random.Generator, rows: int, cols: int) -> Image:
    """Draw smooth noise about the threshold, all valid."""
    coarse = rng.integers(0, 256, (3, rows // 8, cols // 8), np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return Image(pixels=pixels, valid=np.ones((rows, cols), np.bool_))


def backend_of(path: Path, *, window_px: int, halo_px: int, kernel_px: int) -> OnnxBackend:
    card = make_card(window_px=window_px, halo_px=halo_px)
    return OnnxBackend(write_onnx(path, card, kernel_px=kernel_px))


def stored(backend: OnnxBackend, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Predict an image whole, 0..254, without any of the blending."""
    return np.rint(backend.probability(pixels[None])[0] * 254).astype(np.int64)


def test_a_halo_beyond_the_networks_reach_changes_nothing(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "m.onnx", window_px=128, halo_px=32, kernel_px=17)
    image = image_of(np.random.default_rng(0), 400, 336)
    (row,) = measure_halo(backend, [image], progress=Silent())
    assert (row.window_px, row.halo_px, row.cost) == (128, 32, 4.0)
    assert row.u8_changed < 0.004  # two shares of a pixel are rounded down, each on its own
    assert row.flips_per_million < 50


def test_without_a_halo_what_differs_is_counted_in_whole_cores(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "m.onnx", window_px=64, halo_px=0, kernel_px=17)
    image = image_of(np.random.default_rng(1), 240, 200)
    whole = stored(backend, image.pixels[:, :, :192])
    tiled = np.zeros_like(whole)
    for top in range(0, 240, 64):
        for left in range(0, 192, 64):
            part = image.pixels[:, top : top + 64, left : left + 64][:, :, : 192 - left]
            tiled[top : top + 64, left : left + 64] = stored(backend, np.ascontiguousarray(part))
    counted = slice(32, 32 + 3 * 64), slice(32, 32 + 2 * 64)
    (row,) = measure_halo(backend, [image], progress=Silent())
    changed = (whole != tiled)[counted].mean()
    flips = ((whole >= 127) != (tiled >= 127))[counted].mean() * 1e6
    assert changed > 0.1
    assert row.u8_changed == pytest.approx(changed, abs=1e-3)
    assert row.flips_per_million == pytest.approx(flips, rel=0.01)
    assert row.cost == 1


def test_a_finer_network_is_counted_in_its_own_pixels(tmp_path: Path) -> None:
    image = image_of(np.random.default_rng(1), 240, 200)
    image.valid[:, 100:] = np.random.default_rng(2).random((240, 100)) < 0.5
    rows = []
    for scale in (1, 4):
        card = make_card(window_px=64, halo_px=0, scale=scale)
        backend = OnnxBackend(write_onnx(tmp_path / f"{scale}.onnx", card, kernel_px=17))
        rows += measure_halo(backend, [image], progress=Silent())
    assert rows[0].flips_per_million > 1000
    assert rows[1] == rows[0]  # every pixel 16 times


def test_a_finer_network_with_a_wide_halo_changes_nothing(tmp_path: Path) -> None:
    card = make_card(window_px=128, halo_px=32, scale=3)
    model = write_onnx(tmp_path / "m.onnx", card, kernel_px=17, enlarging="linear")
    image = image_of(np.random.default_rng(0), 208, 208)
    (row,) = measure_halo(OnnxBackend(model), [image], progress=Silent())
    assert row.u8_changed < 0.004
    assert row.flips_per_million < 50


def test_invalid_pixels_do_not_count(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "m.onnx", window_px=64, halo_px=0, kernel_px=17)
    image = image_of(np.random.default_rng(2), 192, 192)
    seams_only = Image(pixels=image.pixels, valid=np.zeros((192, 192), np.bool_))
    seams_only.valid[24:40] = True  # eight pixels and more from the first seam, below the border
    assert measure_halo(backend, [seams_only], progress=Silent())[0].u8_changed < 0.4
    seams_only.valid[:] = False
    seams_only.valid[60:68] = True
    assert measure_halo(backend, [seams_only], progress=Silent())[0].u8_changed > 0.6


def test_images_too_small_for_any_window_are_refused(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "m.onnx", window_px=128, halo_px=32, kernel_px=3)
    image = image_of(np.random.default_rng(3), 96, 120)
    with pytest.raises(InputError, match="the largest raster has 120 x 96 pixels") as caught:
        measure_halo(backend, [image], progress=Silent())
    assert "larger raster" in str(caught.value.hint)


def row(cost: float, flips: float) -> HaloRow:
    return HaloRow(window_px=1024, halo_px=64, cost=cost, u8_changed=0.1, flips_per_million=flips)


def test_the_cheapest_good_row_is_chosen_and_else_the_best() -> None:
    table = [row(1.2, 80), row(1.5, 49.9), row(1.7, 10), row(2.0, 3)]
    assert choose_row(table, limit=50).cost == 1.5
    assert choose_row(table, limit=5).cost == 2.0
    assert choose_row(table, limit=1).cost == 2.0
    assert choose_row([row(1.5, 50)], limit=50).cost == 1.5
    assert most_flips("lite", int8=False) == 5
    assert most_flips("lite", int8=True) == most_flips("unet", int8=False) == 50


def test_the_middle_of_the_largest_valid_rasters_is_read_at_the_models_gsd(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sizes = {"small": (100, 100), "large": (200, 300), "larger": (400, 400), "empty": (500, 500)}
    sources = []
    for name, (rows, cols) in sizes.items():
        pixels = rng.integers(1, 255, (3, rows, cols), np.uint8)
        if name == "empty":
            pixels[:, 100:] = 0
        write_raster(tmp_path / f"{name}.tif", pixels, nodata=0)
        sources.append(Source(image=f"{name}.tif", annotations="none.gpkg", use="train"))
    data = make_card().data
    images = read_large_images(tmp_path, tuple(sources), data)
    assert [image.valid.shape for image in images] == [(400, 400), (200, 300)]
    coarser = read_large_images(
        tmp_path, tuple(sources[2:3]), type(data)(**{**_fields(data), "gsd_min_m": 1.0, "gsd_max_m": 2.0})
    )
    assert coarser[0].valid.shape == (200, 200)
    with pytest.raises(InputError, match="no raster of which at least 50% is valid"):
        read_large_images(tmp_path, tuple(sources[3:]), data)
    (cut,) = read_large_images(tmp_path, tuple(sources[2:3]), data, side_px=96)
    assert cut.valid.shape == (96, 96)


def test_memory_bounds_the_image_that_is_predicted_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_of(tmp_path / "m.onnx", window_px=128, halo_px=32, kernel_px=3)
    assert whole_side(backend) == WHOLE_PX
    monkeypatch.setattr("buildmap.inference.halo.growth_bytes", lambda _run: 2048 * 512**2)
    assert whole_side(backend) == 1024


def _fields(data: object) -> dict[str, object]:
    return {name: getattr(data, name) for name in ("bands", "mean", "std", "dtype")}
