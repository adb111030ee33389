"""Overlays: which chips are shown, and in which colours."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.metrics.places import BOTH, PREDICTED, TRUE
from buildmap.models.instance_network import Detections, InstanceNetwork
from buildmap.preset import Data
from buildmap.training.overlays import (
    BOX,
    KEY,
    MOST_SOURCES,
    Overlay,
    choose_overlays,
    draw_overlays,
    key_of,
    to_picture,
)
from tests.unit.training.fakes import PRESET

CPU = torch.device("cpu")
SIDE = 32


class Brightness(nn.Module):
    """Takes the first band for the logit."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


class Finds(InstanceNetwork):
    """Finds the same buildings everywhere: all of their boxes."""

    stride = 1

    def __init__(self, boxes: list[tuple[float, ...]], scores: list[float]) -> None:
        super().__init__()
        self.found = Detections(
            boxes=torch.tensor(boxes), scores=torch.tensor(scores), masks=None, heatmaps=None
        )

    def detect(self, images: Tensor) -> list[Detections]:
        return [self.found] * len(images)


def chip(name: str, *, true: int, found: int) -> Batch:
    """Make one chip: `true` columns are building, `found` columns are bright, both from the left."""
    target = np.zeros((1, SIDE, SIDE), np.float32)
    target[:, :, :true] = 1
    image = np.full((1, 3, SIDE, SIDE), -1, np.float32)
    image[..., :found] = 1
    return Batch(image=image, target=target, valid=np.ones((1, SIDE, SIDE), np.bool_), names=(name,))


def joined(*chips: Batch) -> Batch:
    return Batch(
        image=np.concatenate([one.image for one in chips]),
        target=np.concatenate([one.target for one in chips]),
        valid=np.concatenate([one.valid for one in chips]),
        names=tuple(name for one in chips for name in one.names),
    )


def choose(*batches: Batch) -> tuple[Overlay, ...]:
    return choose_overlays(Brightness(), lambda: iter(batches), PRESET, device=CPU)


def told(overlays: tuple[Overlay, ...]) -> list[tuple[str, str, float]]:
    return [(overlay.source, overlay.rank, round(overlay.iou, 3)) for overlay in overlays]


def test_best_median_and_worst_of_each_source_are_shown() -> None:
    north = [chip("north", true=16, found=found) for found in (4, 16, 8, 12, 14)]
    south = [chip("south", true=10, found=found) for found in (5, 1)]
    assert told(choose(joined(*north[:3]), joined(south[0], *north[3:]), south[1])) == [
        ("north", "best", 1.0),
        ("north", "median", 0.75),
        ("north", "worst", 0.25),
        ("south", "best", 0.5),
        ("south", "worst", 0.1),
    ]


def test_chips_without_buildings_are_shown_only_where_there_are_no_others() -> None:
    empty = chip("north", true=0, found=0)
    assert told(choose(empty, chip("north", true=8, found=4))) == [("north", "best", 0.5)]
    assert told(choose(empty)) == [("north", "best", 1.0)]
    assert told(choose(empty, chip("north", true=0, found=4))) == [("north", "best", 0.0)]


def test_without_validation_ground_nothing_is_shown() -> None:
    assert choose() == ()


def test_of_many_sources_those_with_the_lowest_iou_are_shown() -> None:
    chips = [chip(f"s{number:02}", true=20, found=number + 1) for number in range(MOST_SOURCES + 4)]
    assert [overlay.source for overlay in choose(*reversed(chips))] == [
        f"s{number:02}" for number in range(MOST_SOURCES)
    ]


def test_invented_and_missed_ground_is_tinted_and_outlined_in_its_colour() -> None:
    (invented,) = choose(chip("north", true=8, found=20))
    (missed,) = choose(chip("north", true=20, found=8))
    # away from all outlines, columns 11 to 16 are wrong, columns 3 to 5 right, and from 24 on nothing is
    plain = invented.picture[10, 28].astype(float)
    np.testing.assert_allclose(plain, 255 * np.clip(np.full(3, 0.2), 0, 1), atol=1)
    bright = invented.picture[10, 3].astype(float)
    np.testing.assert_allclose(invented.picture[10, 14], 0.6 * bright + 0.4 * np.array(PREDICTED), atol=1)
    np.testing.assert_allclose(missed.picture[10, 14], 0.6 * plain + 0.4 * np.array(TRUE), atol=1)
    assert tuple(invented.picture[10, 19]) == PREDICTED
    assert tuple(missed.picture[10, 19]) == TRUE


def test_outlines_that_agree_are_white() -> None:
    (overlay,) = choose(chip("north", true=12, found=12))
    assert tuple(overlay.picture[10, 11]) == BOTH
    assert not (overlay.picture == PREDICTED).all(axis=-1).any()
    assert not (overlay.picture == TRUE).all(axis=-1).any()


def test_what_does_not_count_is_dark_and_has_no_outlines() -> None:
    whole = chip("north", true=12, found=20)
    valid = whole.valid.copy()
    valid[:, 16:] = False
    (overlay,) = choose(replace(whole, valid=valid))
    bright, dark = overlay.picture[8, 3].astype(float), overlay.picture[24, 3].astype(float)
    np.testing.assert_allclose(dark, 0.3 * bright, atol=1)
    assert overlay.iou == pytest.approx(12 / 20, abs=1e-4)
    for color in (BOTH, PREDICTED, TRUE):
        assert not (overlay.picture[18:] == color).all(axis=-1).any()


def test_buildings_found_one_by_one_have_a_box_around_them() -> None:
    finds = Finds([(10.0, 8.0, 20.0, 24.0), (26.0, -1.0, 32.0, 6.0), (2.0, 2.0, 6.0, 6.0)], [0.9, 0.6, 0.3])
    batch = chip("north", true=16, found=0)

    def shown(threshold: float) -> Overlay:
        preset = replace(PRESET, predict=replace(PRESET.predict, threshold=threshold))
        (overlay,) = choose_overlays(finds, lambda: iter([batch]), preset, device=CPU)
        return overlay

    overlay = shown(0.5)
    found = np.zeros((SIDE, SIDE), np.bool_)
    found[8:24, 10:20] = found[:6, 26:] = True
    true = batch.target[0] > 0
    assert overlay.iou == pytest.approx((found & true).sum() / (found | true).sum(), abs=1e-4)
    yellow = (overlay.picture == BOX).all(axis=-1)
    # beside the first building, but where the true outline of column 15 crosses
    expected = np.zeros((SIDE, SIDE), np.bool_)
    expected[[7, 24], 9:21] = expected[7:25, [9, 20]] = True
    expected[6, 25:], expected[:7, 25] = True, True
    expected[:, 15] = False
    assert np.array_equal(yellow, expected)
    assert (shown(0.25).picture[1:7, 1] == BOX).all()
    assert overlay.has_boxes and len(key_of([overlay])) == len(KEY) + 1
    assert not choose(batch)[0].has_boxes and key_of(choose(batch)) == KEY


def test_the_same_chips_give_the_same_pictures() -> None:
    batches = [chip("north", true=16, found=found) for found in (4, 16, 8)]
    one, other = choose(*batches), choose(*batches)
    assert len(one) == 3
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.picture, right.picture)


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
    shown = colors[:3] if bands >= 3 else colors[[0, 0, 0]]
    np.testing.assert_allclose(to_picture(normalized, data), shown.transpose(1, 2, 0), atol=1e-6)


def colours(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[[tuple[Overlay, ...]], NDArray[np.uint8]]:
    def draw(overlays: tuple[Overlay, ...]) -> NDArray[np.uint8]:
        draw_overlays(overlays, tmp_path / "samples.png")
        return colours(tmp_path / "samples.png")

    return draw


def test_the_drawing_has_the_chips_and_a_key(
    drawn: Callable[[tuple[Overlay, ...]], NDArray[np.uint8]],
) -> None:
    nothing = drawn(())
    one = drawn(choose(chip("north", true=12, found=12)))
    for color in (PREDICTED, TRUE):
        assert (nothing == color).all(axis=1).sum() > 50  # of the key
    ground = np.rint(255 * np.full(3, 0.2)).astype(int)
    assert (np.abs(one.astype(int) - ground).max(axis=1) <= 1).sum() > 1000
    assert (np.abs(nothing.astype(int) - ground).max(axis=1) <= 1).sum() < 1000


class Quarters(nn.Module):
    """Takes the first band for the logit of 16 pixels each."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1].repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_a_finer_truth_is_drawn_on_the_image_enlarged() -> None:
    coarse, fine = chip("a", true=8, found=4), chip("a", true=8, found=8)
    image = coarse.image[:, :, ::4, ::4]  # 8 pixels a side, one column of them bright
    (drawn,) = choose_overlays(Quarters(), lambda: iter([replace(fine, image=image)]), PRESET, device=CPU)
    (expected,) = choose(coarse)
    assert drawn.iou == expected.iou == pytest.approx(0.5)
    assert np.array_equal(drawn.picture, expected.picture)
