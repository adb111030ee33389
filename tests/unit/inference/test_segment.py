"""Windows through a network: the same as the whole raster through it at once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from buildmap.contract import ModelCard
from buildmap.execution.progress import Silent
from buildmap.inference.segment import Tally, probability_strips
from buildmap.raster.reader import RasterReader
from tests.networks import make_card
from tests.scenes import write_raster


@dataclass
class Blur:
    """Sees `reach` pixels far, zero-padded like a network; asserts that windows are aligned."""

    card: ModelCard
    reach: int = 4
    device: str = "cpu"
    calls: int = 0

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        assert images.shape[2] % self.card.stride == 0
        assert images.shape[3] % self.card.stride == 0
        size = 2 * self.reach + 1
        return uniform_filter(images.mean(1, keepdims=True) * 4, (0, 0, size, size), mode="constant")


def predicted(path: Path, backend: Blur) -> tuple[NDArray[np.uint8], Tally]:
    tally = Tally()
    with RasterReader(path) as reader:
        rows = list(probability_strips(reader, backend, tally=tally, progress=Silent()))
    return np.concatenate(rows), tally


@pytest.mark.parametrize(("height", "width"), [(300, 410), (64, 64), (5, 700), (130, 1)])
def test_windows_give_what_the_whole_raster_gives(tmp_path: Path, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, height, width), np.uint8)
    path = write_raster(tmp_path / "a.tif", pixels)
    tiled, _ = predicted(path, Blur(make_card()))
    whole, tally = predicted(path, Blur(make_card(window_px=1024)))
    assert tally.windows == 1
    assert tiled.shape == (height, width)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_invalid_pixels_are_nodata_and_empty_windows_never_reach_the_network(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 320, 640), np.uint8)
    pixels[:, :, 200:] = 0
    path = write_raster(tmp_path / "a.tif", pixels, nodata=0)
    backend = Blur(make_card())
    rows, tally = predicted(path, backend)
    np.testing.assert_array_equal(rows == 255, (pixels == 0).all(axis=0))
    assert tally.windows == 5 * 10
    assert backend.calls == 5 * 4
    assert tally.skipped == 5 * 6


def test_rows_do_not_depend_on_how_far_reading_runs_ahead(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (3, 200, 300), np.uint8)
    )
    results = []
    for ahead in (1, 7):
        with RasterReader(path) as reader:
            strips = probability_strips(
                reader, Blur(make_card()), tally=Tally(), progress=Silent(), ahead=ahead
            )
            results.append(np.concatenate(list(strips)))
    np.testing.assert_array_equal(*results)
