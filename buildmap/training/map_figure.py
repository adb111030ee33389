"""Validation chips beside their maps: the true one, and the generator's before and after joint training.

As in figure 3 of "Map-Guided Cross-Training for Building Detection".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from buildmap.data.dataset import Batch
from buildmap.models.map_guided import MapGuided
from buildmap.preset import Data
from buildmap.training.overlays import to_picture

MOST = 6
"""Chips shown."""
_FEWEST_VALID = 0.9
_INCH = 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MapExample:
    """A chip to look at."""

    source: str
    """Its source."""
    image: NDArray[np.float32]
    """(bands, rows, cols), normalized."""
    building: NDArray[np.bool_]
    """(scale rows, scale cols), True = building."""
    map: NDArray[np.float32]
    """(3, scale rows, scale cols) red, green and blue, 0..1."""


def choose_examples(batches: Iterable[Batch], most: int = MOST) -> tuple[MapExample, ...]:
    """Choose the chips with most buildings, of those nearly all of whose ground counts; first of equals."""
    found: list[tuple[float, int, MapExample]] = []
    number = 0
    for batch in batches:
        if batch.picture is None:
            raise ValueError("a batch without pictures")
        for index, name in enumerate(batch.names):
            number += 1
            if batch.valid[index].mean() < _FEWEST_VALID:
                continue
            building = batch.target[index] >= 0.5
            example = MapExample(
                source=name, image=batch.image[index], building=building, map=batch.picture[index]
            )
            found.append((-float(building.mean()), number, example))
        found = sorted(found, key=lambda one: one[:2])[:most]
    return tuple(example for _, _, example in found)


def draw_map_figure(
    examples: Sequence[MapExample],
    before: nn.Module,
    network: MapGuided,
    data: Data,
    path: Path,
    *,
    device: torch.device,
) -> None:
    """Draw a row for each chip as PNG: image, maps, prediction and truth.

    Args:
        examples: At least one.
        before: The generator as it was before the joint training.
        network: The joint model, in evaluation mode, on the device.
        data: How images were normalized.
        path: The file to write.
        device: Where to compute.
    """
    before.to(device).eval()
    figure = Figure(figsize=(6 * _INCH, (_INCH + 0.1) * len(examples) + 0.4), layout="constrained")
    axes = figure.subplots(len(examples), 6, squeeze=False)
    for number, (row, example) in enumerate(zip(axes, examples, strict=True)):
        with torch.inference_mode():
            image = torch.from_numpy(example.image[None]).to(device)
            drawn = [_to_rows(front(image)[0]) for front in (before, network.front)]
            building = (network(image)[0, 0] >= 0).cpu().numpy()
        panels = {
            "image": to_picture(example.image, data),
            "map": example.map.transpose(1, 2, 0),
            "drawn before": drawn[0],
            "drawn after": drawn[1],
            "predicted": building,
            "true": example.building,
        }
        for axis, (name, panel) in zip(row, panels.items(), strict=True):
            axis.imshow(panel, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_axis_off()
            if number == 0:
                axis.set_title(name, fontsize="medium")
    figure.savefig(path)


def _to_rows(picture: torch.Tensor) -> NDArray[np.float32]:
    """Give a picture (3, rows, cols) as (rows, cols, 3), cut to 0..1."""
    return np.asarray(picture.float().clamp(0, 1).permute(1, 2, 0).cpu().numpy(), np.float32)
