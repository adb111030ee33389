"""Validation chips to look at: what the network found, missed and invented, drawn on the image."""

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
from buildmap.preset import Data

MOST_SOURCES = 8
"""Sources shown."""
KEY = (
    ("found: the outlines agree", BOTH),
    ("invented: predicted only", PREDICTED),
    ("missed: true only", TRUE),
)
"""What the colours mean; told apart also by who does not see red or green."""
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
    """Of its pixels that count, threshold 0.5."""
    picture: NDArray[np.uint8]
    """(rows, cols, 3)."""


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
    data: Data,
    *,
    device: torch.device,
) -> tuple[Overlay, ...]:
    """Draw the best, the median and the worst chip by IoU of each source.

    All validation ground is looked at twice: to choose, and to draw. Chips without buildings on either side
    are shown only where a source has no others. Of many sources, those with the lowest IoU are shown.

    Args:
        network: On the device, in evaluation mode.
        validation: Gives all validation ground, the same each time it is called.
        data: How images were normalized.
        device: Where the network computes.

    Returns:
        By source in the order of their names, from best to worst.
    """
    chips = _judge(network, validation(), device)
    ranks = {
        chip.number: (rank, chip.counts.iou)
        for name in _worst_sources(chips)
        for rank, chip in _spread(chips[name]).items()
    }
    drawn = [
        _draw(
            batch, index, _predict(network, batch.image[index : index + 1], device)[0], data, *ranks[number]
        )
        for number, (batch, index) in enumerate(_single(validation() if ranks else ()))
        if number in ranks
    ]
    return tuple(sorted(drawn, key=lambda overlay: (overlay.source, _RANKS.index(overlay.rank))))


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
    patches = [Patch(facecolor=_hex(color), edgecolor="0.5", label=name) for name, color in KEY]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(KEY), frameon=False)
    figure.savefig(path)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _single(batches: Iterable[Batch]) -> Iterator[tuple[Batch, int]]:
    """Give every chip: its batch, and its number there."""
    return ((batch, index) for batch in batches for index in range(len(batch.names)))


def _judge(network: nn.Module, batches: Iterable[Batch], device: torch.device) -> dict[str, list[_Judged]]:
    """Count the pixels of every chip, by source."""
    chips: dict[str, list[_Judged]] = {}
    number = 0
    for batch in batches:
        found = _predict(network, batch.image, device)
        for index, name in enumerate(batch.names):
            counts = count(found[index], batch.target[index] >= _THRESHOLD, batch.valid[index])
            chips.setdefault(name, []).append(_Judged(number=number, counts=counts))
            number += 1
    return chips


def _predict(network: nn.Module, image: NDArray[np.float32], device: torch.device) -> NDArray[np.bool_]:
    """Give (B, rows, cols), True = building."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(image).to(device, memory_format=torch.channels_last))
        return np.asarray((logits[:, 0] >= 0).cpu().numpy())


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


def _draw(
    batch: Batch, index: int, predicted: NDArray[np.bool_], data: Data, rank: str, iou: float
) -> Overlay:
    valid = batch.valid[index]
    true = (batch.target[index] >= _THRESHOLD) & valid
    predicted = predicted & valid
    image = to_picture(batch.image[index], data)
    picture = np.where(valid[..., None], image, image * _UNKNOWN) * 255
    for wrong, color in ((predicted & ~true, PREDICTED), (true & ~predicted, TRUE)):
        picture[wrong] = (1 - _TINT) * picture[wrong] + _TINT * np.array(color)
    shown = draw_place(np.rint(picture).astype(np.uint8), predicted, true, longest_px=max(true.shape))
    return Overlay(source=batch.names[index], rank=rank, iou=iou, picture=shown)


def to_picture(image: NDArray[np.float32], data: Data) -> NDArray[np.float32]:
    """Undo the normalization of the first three bands, (rows, cols, 3), 0..1; show fewer as gray."""
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    values = np.clip(image.transpose(1, 2, 0) * std + mean, 0, 1)
    bands = [0, 1, 2] if values.shape[2] >= 3 else [0, 0, 0]
    return np.asarray(values[..., bands], np.float32)
