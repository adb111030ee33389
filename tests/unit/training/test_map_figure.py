"""Which chips are shown beside their maps, and where in the picture what stands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn

from buildmap.data.dataset import Batch
from buildmap.models.map_guided import MapGuided
from buildmap.models.network import Network
from buildmap.preset import find_preset
from buildmap.training.map_figure import choose_examples, draw_map_figure

DATA = replace(find_preset("lite").data, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RED, GREEN, BLUE, WHITE, BLACK = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)


def flat(color: tuple[int, int, int], side: int) -> NDArray[np.float32]:
    return np.tile(np.array(color, np.float32)[:, None, None], (1, side, side))


def batch(shares: list[float], *, valid: list[float] | None = None) -> Batch:
    """Make chips of 10 x 10 whose targets, as large, have so much building, and so much valid ground."""
    count = len(shares)
    target = np.zeros((count, 100), np.float32)
    counted = np.zeros((count, 100), np.bool_)
    for index, share in enumerate(shares):
        target[index, : round(100 * share)] = 1
        counted[index, : round(100 * (valid or [1.0] * count)[index])] = True
    return Batch(
        image=np.stack([np.full((3, 10, 10), share, np.float32) for share in shares]),
        target=target.reshape(count, 10, 10),
        valid=counted.reshape(count, 10, 10),
        names=tuple(f"{share:g}" for share in shares),
        picture=np.stack([flat(GREEN, 10)] * count),
    )


def test_chips_with_most_buildings_are_shown_and_the_first_of_equals() -> None:
    batches = [batch([0.1, 0.5, 0.3]), batch([0.9, 0.5, 0.8], valid=[1, 1, 0.5])]
    chosen = choose_examples(batches, most=3)
    assert [example.source for example in chosen] == ["0.9", "0.5", "0.5"]
    assert chosen[1].image is not chosen[2].image
    assert np.array_equal(chosen[1].building, batches[0].target[1] == 1)
    assert np.array_equal(chosen[0].map, flat(GREEN, 10))
    assert choose_examples([]) == ()


def test_batches_without_maps_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="without pictures"):
        choose_examples([replace(batch([0.5]), picture=None)])


class Paints(nn.Module):
    """Draws one colour, whatever the image."""

    def __init__(self, color: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("color", torch.tensor(color, dtype=torch.float32)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        return self.get_buffer("color").expand(len(image), 3, 4 * image.shape[2], 4 * image.shape[3])


class FindsBlue(Network):
    """Takes blue pictures for buildings."""

    stride = 1

    def forward(self, picture: Tensor) -> Tensor:
        return picture[:, 2:] - 0.5


def test_a_row_is_image_map_drawn_before_and_after_predicted_and_true(tmp_path: Path) -> None:
    examples = choose_examples([batch([1.0, 0.0])])
    network = MapGuided(front=Paints(BLUE), segmenter=FindsBlue()).eval()
    path = tmp_path / "maps.png"
    draw_map_figure(examples, Paints(RED), network, DATA, path, device=torch.device("cpu"))
    with Picture.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float64) / 255
    height, width = pixels.shape[:2]
    for number, last in enumerate((WHITE, BLACK)):
        row = pixels[int((0.3 + 0.45 * number) * height)]
        seen = [row[int((column + 0.5) / 6 * width)] for column in range(6)]
        expected = [(1 - number,) * 3, GREEN, RED, BLUE, WHITE, last]
        assert np.allclose(seen, expected, atol=0.02)
