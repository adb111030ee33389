"""Pictures of a training: how it went, and what came of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from buildmap.data.dataset import Batch
from buildmap.preset import Data
from buildmap.training.record import EpochRecord

_FEWEST_SHOWN = 0.05
"""Share of building from which a chip is worth showing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A validation chip and what the network makes of it."""

    name: str
    """Its source."""
    image: NDArray[np.float32]
    """(rows, cols, 3), 0..1."""
    truth: NDArray[np.float32]
    """(rows, cols), 0 or 1; NaN where invalid."""
    probability: NDArray[np.float32]
    """(rows, cols), 0..1."""


def draw_curves(records: Sequence[EpochRecord], path: Path) -> None:
    """Draw losses and IoU over the epochs."""
    epochs = [record.epoch for record in records]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    losses.plot(epochs, _gaps([r.train_loss for r in records]), label="training")
    losses.plot(epochs, _gaps([r.validation_loss for r in records]), label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend()
    for name in sorted({name for record in records for name in record.iou_by_source}):
        shares = [record.iou_by_source.get(name) for record in records]
        scores.plot(epochs, _gaps(shares), label=name, linewidth=0.8, alpha=0.7)
    scores.plot(epochs, _gaps([r.iou for r in records]), "k", label="all")
    scores.set(xlabel="epoch", ylabel="validation micro-IoU", ylim=(0, 1))
    scores.legend(fontsize="x-small")
    for axis in (losses.xaxis, scores.xaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.savefig(path)


def draw_samples(samples: Sequence[Sample], path: Path) -> None:
    """Draw each sample's image, truth and probability side by side."""
    figure = Figure(figsize=(9, 3 * max(len(samples), 1)), layout="constrained")
    rows = figure.subplots(max(len(samples), 1), 3, squeeze=False)
    for axis in rows.flat:
        axis.set_axis_off()
    gray = colormaps["gray"].with_extremes(bad="tab:blue")  # what does not count
    for (image, truth, probability), sample in zip(rows, samples, strict=False):
        image.imshow(sample.image)
        image.set_title(sample.name, fontsize="small")
        truth.imshow(sample.truth, vmin=0, vmax=1, cmap=gray)
        truth.set_title("truth", fontsize="small")
        probability.imshow(sample.probability, vmin=0, vmax=1, cmap="gray")
        probability.set_title("probability", fontsize="small")
    figure.savefig(path)


def choose_samples(
    network: nn.Module, batches: Iterable[Batch], data: Data, *, limit: int = 6
) -> tuple[Sample, ...]:
    """Predict the first chip of each source that shows buildings.

    Args:
        network: On the CPU, in evaluation mode.
        batches: Validation ground.
        data: How images were normalized.
        limit: Most samples.
    """
    samples: dict[str, Sample] = {}
    for batch in batches:
        for index, name in enumerate(batch.names):
            shown = (batch.target[index] * batch.valid[index]).mean()
            if name not in samples and shown >= _FEWEST_SHOWN:
                samples[name] = _sample(network, batch, index, data)
            if len(samples) == limit:
                return tuple(samples.values())
    return tuple(samples.values())


def _sample(network: nn.Module, batch: Batch, index: int, data: Data) -> Sample:
    with torch.inference_mode():
        probability = network(torch.from_numpy(batch.image[index : index + 1])).sigmoid()
    return Sample(
        name=batch.names[index],
        image=_picture(batch.image[index], data),
        truth=np.where(batch.valid[index], batch.target[index], np.nan).astype(np.float32),
        probability=probability[0, 0].numpy(),
    )


def _picture(image: NDArray[np.float32], data: Data) -> NDArray[np.float32]:
    """Undo the normalization of the first three bands; show fewer as gray."""
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    values = np.clip(image.transpose(1, 2, 0) * std + mean, 0, 1)
    bands = [0, 1, 2] if values.shape[2] >= 3 else [0, 0, 0]
    return np.asarray(values[..., bands], np.float32)


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
