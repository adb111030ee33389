"""Validation chips to look at: what the network found, missed and invented, drawn on the image."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import nn

from buildmap.data.dataset import Batch
from buildmap.metrics.confusion import Confusion, count
from buildmap.metrics.places import BOTH, PREDICTED, TRUE, draw_place
from buildmap.models.instance_network import InstanceNetwork
from buildmap.preset import Data, Preset
from buildmap.training.painting import Painted

MOST_SOURCES = 8
"""Sources shown."""
KEY = (
    ("found: the outlines agree", BOTH),
    ("invented: predicted only", PREDICTED),
    ("missed: true only", TRUE),
)
"""What the colours mean; told apart also by who does not see red or green."""
BOX = (240, 228, 66)
"""Yellow: around a building, where the network finds them one by one."""
_TINT = 0.4
"""Share of the colour in pixels that are wrong."""
_UNKNOWN = 0.3
"""Brightness of pixels that do not count."""
_FEWEST = 0.01
"""Share of building, on either side, from which a chip is worth showing."""
_THRESHOLD = 0.5


_RANKS = ("best", "median", "worst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """One chip."""

    source: str
    """Its source."""
    rank: str
    """'best', 'median' or 'worst' of its source."""
    iou: float
    """Of its pixels that count."""
    picture: NDArray[np.uint8]
    """(rows, cols, 3)."""
    has_boxes: bool = False
    """Whether the network finds buildings one by one, whose boxes are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    number: int
    """Among all validation chips."""
    counts: Confusion
    """Of its pixels."""

    @property
    def building_share(self) -> float:
        """Of the pixels that count, those that are building on either side."""
        counts = self.counts
        building = counts.tp + counts.fp + counts.fn
        return building / max(building + counts.tn, 1)


def choose_overlays(
    network: nn.Module,
    validation: Callable[[], Iterable[Batch]],
    preset: Preset,
    *,
    device: torch.device,
) -> tuple[Overlay, ...]:
    """Draw the best, the median and the worst chip by IoU of each source.

    All validation ground is looked at twice: to choose, and to draw. Chips without buildings on either side
    are shown only where a source has no others. Of many sources, those with the lowest IoU are shown.

    Args:
        network: On the device, in evaluation mode.
        validation: Gives all validation ground, the same each time it is called.
        preset: Says how images were normalized, and from which score and probability the pixels of an
            `InstanceNetwork` are buildings, as in `validate`; those of others are from 0.5.
        device: Where the network computes.

    Returns:
        By source in the order of their names, from best to worst.
    """
    eye = _Eye(network, device, preset.predict.threshold)
    chips = _judge(eye, validation())
    ranks = {
        chip.number: (rank, chip.counts.iou)
        for name in _worst_sources(chips)
        for rank, chip in _spread(chips[name]).items()
    }
    drawn = [
        _draw(batch, index, eye, preset.data, *ranks[number])
        for number, (batch, index) in enumerate(_single(validation() if ranks else ()))
        if number in ranks
    ]
    return tuple(sorted(drawn, key=lambda overlay: (overlay.source, _RANKS.index(overlay.rank))))


def key_of(overlays: Sequence[Overlay]) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """Say what the colours of some overlays mean."""
    boxes = (("box around a building found", BOX),) if any(shown.has_boxes for shown in overlays) else ()
    return (*KEY, *boxes)


def draw_overlays(overlays: tuple[Overlay, ...], path: Path) -> None:
    """Draw overlays as PNG, a row for each source, with a key."""
    names = list(dict.fromkeys(overlay.source for overlay in overlays))
    rows = max(len(names), 1)
    figure = Figure(figsize=(9.6, 3.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, len(_RANKS), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for overlay in overlays:
        axis = axes[names.index(overlay.source), _RANKS.index(overlay.rank)]
        axis.imshow(overlay.picture, interpolation="nearest")
        axis.set_title(f"{overlay.source}\n{overlay.rank}, IoU {overlay.iou:.3f}", fontsize="small")
    patches = [Patch(facecolor=_hex(color), edgecolor="0.5", label=name) for name, color in key_of(overlays)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    figure.savefig(path)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _single(batches: Iterable[Batch]) -> Iterator[tuple[Batch, int]]:
    """Give every chip: its batch, and its number there."""
    return ((batch, index) for batch in batches for index in range(len(batch.names)))


class _Eye:
    """What a network of either kind says of images."""

    def __init__(self, network: nn.Module, device: torch.device, threshold: float) -> None:
        self._finder = network if isinstance(network, InstanceNetwork) else None
        self._network = network if self._finder is None else Painted(self._finder)
        self._device = device
        self._threshold = _THRESHOLD if self._finder is None else threshold

    def predict(self, image: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Give (B, rows, cols), True = building."""
        lowest = math.log(self._threshold / (1 - self._threshold))
        with torch.inference_mode():
            logits = self._network(self._tensor(image))
            return np.asarray((logits[:, 0] >= lowest).cpu().numpy())

    def boxes(self, image: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Give (n, 4) of the buildings found in one image; None if they are not found one by one."""
        if self._finder is None:
            return None
        with torch.inference_mode():
            (found,) = self._finder.detect(self._tensor(image))
            return np.asarray(found.boxes[found.scores >= self._threshold].float().cpu().numpy())

    def _tensor(self, image: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(image).to(self._device, memory_format=torch.channels_last)


def _judge(eye: _Eye, batches: Iterable[Batch]) -> dict[str, list[_Judged]]:
    """Count the pixels of every chip, by source."""
    chips: dict[str, list[_Judged]] = {}
    number = 0
    for batch in batches:
        found = eye.predict(batch.image)
        for index, name in enumerate(batch.names):
            counts = count(found[index], batch.target[index] >= _THRESHOLD, batch.valid[index])
            chips.setdefault(name, []).append(_Judged(number=number, counts=counts))
            number += 1
    return chips


def _worst_sources(chips: Mapping[str, Sequence[_Judged]]) -> list[str]:
    """Name the sources to show: those with the lowest IoU."""
    iou = {name: sum((c.counts for c in judged), start=Confusion()).iou for name, judged in chips.items()}
    return sorted(iou, key=lambda name: (iou[name], name))[:MOST_SOURCES]


def _spread(judged: Sequence[_Judged]) -> dict[str, _Judged]:
    """Choose the best, the median and the worst chip, no chip twice; the first of equals."""
    worth = [chip for chip in judged if chip.building_share >= _FEWEST] or list(judged)
    ordered = sorted(worth, key=lambda chip: (-chip.counts.iou, chip.number))
    places = {"best": 0, "worst": len(ordered) - 1, "median": len(ordered) // 2}
    chosen: dict[str, _Judged] = {}
    for rank, place in places.items():
        if ordered[place] not in chosen.values():
            chosen[rank] = ordered[place]
    return chosen


def _draw(batch: Batch, index: int, eye: _Eye, data: Data, rank: str, iou: float) -> Overlay:
    one = batch.image[index : index + 1]
    predicted, boxes = eye.predict(one)[0], eye.boxes(one)
    valid = batch.valid[index]
    true = (batch.target[index] >= _THRESHOLD) & valid
    predicted = predicted & valid
    image = to_picture(batch.image[index], data)
    scale = len(valid) // len(image)
    image = np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)
    picture = np.where(valid[..., None], image, image * _UNKNOWN) * 255
    for wrong, color in ((predicted & ~true, PREDICTED), (true & ~predicted, TRUE)):
        picture[wrong] = (1 - _TINT) * picture[wrong] + _TINT * np.array(color)
    shown = draw_place(np.rint(picture).astype(np.uint8), predicted, true, longest_px=max(true.shape))
    if boxes is not None:
        outlines = np.any([(shown == color).all(axis=-1) for _, color in KEY], axis=0)
        shown[_around(boxes, valid.shape) & ~outlines] = BOX
    name = batch.names[index]
    return Overlay(source=name, rank=rank, iou=iou, picture=shown, has_boxes=boxes is not None)


def _around(boxes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Give the pixels around boxes, one pixel wide, (rows, cols)."""
    around = np.zeros(shape, np.bool_)
    height, width = shape
    corners = np.concatenate([np.floor(boxes[:, :2]) - 1, np.ceil(boxes[:, 2:])], axis=1).astype(int)
    for left, top, right, bottom in corners.tolist():
        rows, cols = slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1)
        around[[row for row in (top, bottom) if 0 <= row < height], cols] = True
        around[rows, [col for col in (left, right) if 0 <= col < width]] = True
    return around


def to_picture(image: NDArray[np.float32], data: Data) -> NDArray[np.float32]:
    """Undo the normalization of the first three bands, (rows, cols, 3), 0..1; show fewer as gray."""
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    values = np.clip(image.transpose(1, 2, 0) * std + mean, 0, 1)
    bands = [0, 1, 2] if values.shape[2] >= 3 else [0, 0, 0]
    return np.asarray(values[..., bands], np.float32)
