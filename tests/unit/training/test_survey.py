"""Surveyed ground is what a network says of the whole raster, in bands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from buildmap.data.sources import TrainingSource, open_sources
from buildmap.data.split import Ground
from buildmap.errors import ResourceError
from buildmap.execution.progress import Silent
from buildmap.preset import Source
from buildmap.raster.windows import Window
from buildmap.training.survey import Band, Surveyed, plan_of, survey, surveyed
from tests.scenes import write_raster
from tests.unit.training.ground import PRESET, write_scene

SHAPE = (150, 210)


class Blur(nn.Module):
    """Looks five pixels around, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 1, 11, padding=5)
        self.calls: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.calls.append(tuple(image.shape))
        logits: Tensor = self.layer(image)
        return logits


class Counts(Silent):
    """Counts steps."""

    done = 0

    def advance(self, steps: int = 1) -> None:
        self.done += steps


@contextmanager
def opened(root: Path, *sources: Source) -> Iterator[tuple[TrainingSource, ...]]:
    found = open_sources(root, replace(PRESET, sources=sources))
    yield found
    for source in found:
        source.close()


def town(root: Path) -> Source:
    return write_scene(root, "town", [(20, 20, 30, 40)], [(20, 30, 30, 40)], shape=SHAPE, as_mask=True)


def bands_of(network: nn.Module, ground: Surveyed, progress: Silent | None = None) -> list[Band]:
    return list(
        survey(
            network,
            ground,
            PRESET,
            stride=8,
            device=torch.device("cpu"),
            progress=progress or Silent(),
        )
    )


def joined(bands: list[Band], name: str) -> NDArray[np.generic]:
    assert [band.first_row for band in bands] == [
        sum(len(above.known) for above in bands[:number]) for number in range(len(bands))
    ]
    return np.concatenate([getattr(band, name) for band in bands])


def test_bands_together_are_the_whole_raster_predicted_at_once(tmp_path: Path) -> None:
    with opened(tmp_path, town(tmp_path)) as sources:
        (ground,) = surveyed(sources)
        progress = Counts()
        bands = bands_of(Blur(), ground, progress)
        whole = sources[0].read(ground.window, out_shape=SHAPE)
    assert len(bands) > 2
    image = (whole.image.pixels / 255 - 0.45) / 0.25
    with torch.inference_mode():
        expected = Blur()(torch.from_numpy(image[None].astype(np.float32)))[0, 0].sigmoid().numpy()
    np.testing.assert_allclose(joined(bands, "probability"), expected, atol=1e-5)
    np.testing.assert_array_equal(joined(bands, "building"), whole.building)
    assert joined(bands, "known").all()
    plan = plan_of(ground, PRESET, stride=8)
    assert progress.done == plan.rows * plan.columns == len(list(plan))


def test_windows_have_sides_that_the_network_takes(tmp_path: Path) -> None:
    network = Blur()
    with opened(tmp_path, town(tmp_path)) as sources:
        bands_of(network, surveyed(sources)[0])
    assert len(network.calls) > 4
    for _, _, rows, cols in network.calls:
        assert rows % 8 == cols % 8 == 0 and max(rows, cols) <= 64


def test_ground_between_rectangles_is_unknown_and_never_predicted(tmp_path: Path) -> None:
    source = town(tmp_path)
    left = replace(source, window_px=(0, 0, 40, 150))
    right = replace(source, window_px=(180, 0, 30, 150), use="validation")
    network = Blur()
    with opened(tmp_path, left, right) as sources:
        (ground,) = surveyed(sources)
        bands = bands_of(network, ground)
        plan = plan_of(ground, PRESET, stride=8)
        truth = sources[0].read(Window(col_off=0, row_off=0, width=40, height=150), out_shape=(150, 40))
    known = joined(bands, "known")
    assert known[:, :40].all() and known[:, 180:].all() and not known[:, 40:180].any()
    assert not joined(bands, "probability")[:, 40:180].any()
    np.testing.assert_array_equal(joined(bands, "building")[:, :40], truth.building)
    assert 0 < len(network.calls) < plan.rows * plan.columns


def test_the_surveyed_window_begins_where_the_ground_does(tmp_path: Path) -> None:
    source = replace(town(tmp_path), window_px=(50, 30, 100, 90))
    with opened(tmp_path, source) as sources:
        (ground,) = surveyed(sources)
        building = joined(bands_of(Blur(), ground), "building")
    assert ground.window == Window(col_off=50, row_off=30, width=100, height=90)
    assert ground.transform @ (0, 0) == (400_025, 4_999_985)
    assert building[:20, :20].all() and building.sum() == 400  # the map's building reaches to 50, 70


def test_pixels_without_data_are_unknown(tmp_path: Path) -> None:
    source = town(tmp_path)
    image = np.full((3, *SHAPE), 90, np.uint8)
    image[:, :, 100:] = 0
    write_raster(tmp_path / "town.tif", image, nodata=0)
    with opened(tmp_path, source) as sources:
        bands = bands_of(Blur(), surveyed(sources)[0])
    assert joined(bands, "known")[:, :100].all() and not joined(bands, "known")[:, 100:].any()
    assert not joined(bands, "probability")[:, 100:].any()


def test_sources_of_one_raster_are_surveyed_together_and_others_apart(tmp_path: Path) -> None:
    source = town(tmp_path)
    other = write_scene(tmp_path, "other", [(5, 5, 9, 9)], [(5, 5, 9, 9)], shape=(60, 60), as_mask=True)
    halves = [replace(source, window_px=(0, 0, 100, 150)), replace(source, window_px=(100, 0, 110, 150))]
    with opened(tmp_path, halves[0], other, halves[1]) as sources:
        nothing = replace(sources[1], ground=Ground(train=(), validation=()))
        assert [(g.name, len(g.sources), g.window.width) for g in surveyed(sources)] == [
            ("town", 2, 210),
            ("other", 1, 60),
        ]
        assert [g.name for g in surveyed([sources[0], nothing, sources[2]])] == ["town"]


def test_a_window_too_large_for_the_device_is_told_with_its_size(tmp_path: Path) -> None:
    class Full(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise torch.OutOfMemoryError(f"no room for {image.numel()} numbers")

    with opened(tmp_path, town(tmp_path)) as sources:
        ground = surveyed(sources)[0]
        with pytest.raises(ResourceError, match=r"a window of 64 x \d+ pixels .* no room for") as caught:
            bands_of(Full(), ground)
    assert "window_px" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["probability", "building", "known"])
def test_bands_have_the_types_they_say(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, town(tmp_path)) as sources:
        band = bands_of(Blur(), surveyed(sources)[0])[0]
    assert getattr(band, name).dtype == (np.float32 if name == "probability" else np.bool_)
