"""Pictures: what they show, and that they are pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from buildmap.preset import Data
from buildmap.training.figures import choose_samples, draw_curves, draw_samples
from tests.unit.training.fakes import PRESET, make_batch
from tests.unit.training.test_record import with_ious


class Brightness(nn.Module):
    """Takes the first band for the logit."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


def ink(path: Path) -> int:
    """Count pixels that are not white."""
    return int((np.asarray(Image.open(path).convert("L")) < 250).sum())


def test_samples_are_the_first_chips_with_buildings_of_each_source() -> None:
    empty = replace(make_batch(0), target=np.zeros((4, 16, 16), np.float32))
    batch = replace(make_batch(1), target=np.ones((4, 16, 16), np.float32))
    samples = choose_samples(Brightness(), [empty, batch, batch], PRESET.data)
    assert [sample.name for sample in samples] == ["north", "south"]
    np.testing.assert_array_equal(np.isnan(samples[1].truth), ~batch.valid[1])
    np.testing.assert_allclose(samples[1].probability, 1 / (1 + np.exp(-batch.image[1, 0])), rtol=1e-5)


def test_no_more_samples_than_asked_for() -> None:
    batch = replace(make_batch(1), names=("a", "b", "c", "d"), target=np.ones((4, 16, 16), np.float32))
    assert [s.name for s in choose_samples(Brightness(), [batch], PRESET.data, limit=3)] == ["a", "b", "c"]


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_the_picture_shows_the_raster_s_own_colors(bands: int) -> None:
    data = Data(
        gsd_min_m=0.3,
        gsd_max_m=0.6,
        bands=tuple(range(1, bands + 1)),
        mean=(0.4, 0.5, 0.6, 0.7)[:bands],
        std=(0.1, 0.2, 0.3, 0.4)[:bands],
    )
    colors = np.random.default_rng(0).random((bands, 16, 16)).astype(np.float32)
    normalized = (colors - np.array(data.mean)[:, None, None]) / np.array(data.std)[:, None, None]
    batch = replace(
        make_batch(1, size=1),
        image=normalized[None].astype(np.float32),
        target=np.ones((1, 16, 16), np.float32),
    )
    (sample,) = choose_samples(Brightness(), [batch], data)
    shown = colors[:3] if bands >= 3 else colors[[0, 0, 0]]
    np.testing.assert_allclose(sample.image, shown.transpose(1, 2, 0), atol=1e-6)


def test_curves_are_drawn_also_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    draw_curves(with_ious(None, None), tmp_path / "none.png")
    draw_curves(with_ious(0.1, 0.5, 0.9), tmp_path / "some.png")
    assert 0 < ink(tmp_path / "none.png") < ink(tmp_path / "some.png")


def test_samples_are_drawn_also_where_there_are_none(tmp_path: Path) -> None:
    batch = replace(make_batch(1), target=np.ones((4, 16, 16), np.float32))
    draw_samples((), tmp_path / "none.png")
    draw_samples(choose_samples(Brightness(), [batch], PRESET.data), tmp_path / "some.png")
    assert ink(tmp_path / "none.png") == 0
    assert ink(tmp_path / "some.png") > 1000
