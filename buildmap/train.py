"""The story of `buildmap train`: rasters and annotations become a model file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from buildmap.contract import ModelCard
from buildmap.data.dataset import Chips
from buildmap.data.pairs import list_pairs
from buildmap.errors import MismatchError, OutputError
from buildmap.execution.progress import Progress, Silent
from buildmap.models.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from buildmap.preset import Preset
from buildmap.provenance import fingerprint_file
from buildmap.publish import staged
from buildmap.training.device import open_fabric
from buildmap.training.figures import choose_samples, draw_curves, draw_samples
from buildmap.training.loop import fit, fresh_network
from buildmap.training.record import best_record
from buildmap.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """What was learned."""

    output: str
    """The model file."""
    run_folder: str
    """Metrics, pictures and the state an interrupted run continues from."""
    title: str
    """The model in one line."""
    parameters: int
    """Learned numbers in the network."""
    device: str
    """Where it learned."""
    training_chips: float
    """Valid training ground in chips' areas."""
    validation_chips: float
    """Valid validation ground, likewise."""
    epochs: int
    """Epochs in all."""
    resumed_after_epoch: int
    """Epochs an earlier run had done; 0 for a run from scratch."""
    best_epoch: int
    """The epoch whose weights were kept."""
    validation_iou: float | None
    """Micro-IoU of the best epoch over all validation pixels, threshold 0.5; None without such ground."""
    validation_iou_by_source: Mapping[str, float]
    """The same, per source."""
    skipped_steps: int
    """Steps without a finite loss."""
    seconds: float
    """Wall time of all epochs, those of an earlier run included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How a training runs; nothing here decides the weights."""

    overwrite: bool = False
    """Replace an existing output."""
    restart: bool = False
    """Drop what an earlier run left in the run folder."""
    device: str = "auto"
    """As `open_fabric` takes it."""


_DEFAULTS = TrainOptions()


def train(
    data: Path,
    output: Path,
    preset: Preset,
    options: TrainOptions = _DEFAULTS,
    *,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train a model, or go on where the same training was interrupted.

    Args:
        data: Folder of rasters and annotations.
        output: Model file, `.safetensors`; the run folder lies beside it.
        preset: Everything that decides the weights, together with `data`.
        options: How to run.
        progress: Hears of each epoch.

    Raises:
        InputError: If rasters or annotations cannot be used.
        MismatchError: If the preset does not fit its network, or an unfinished run had another preset or
            other data.
        DivergedError: If the loss stays without a finite value.
        ResourceError: If the device is not there, or too small.
        OutputError: If the output exists already, or cannot be created.
        LockedError: If another run is training the same output.
    """
    if output.suffix != ".safetensors":
        raise OutputError(f"{output} does not end in .safetensors", hint=f"{output.stem}.safetensors")
    with staged(output, overwrite=options.overwrite) as folder:
        network = fresh_network(preset)
        card = _card(preset, stride=network.stride)
        fabric = open_fabric(options.device, precision=preset.training.precision)
        run = RunFolder(output.with_suffix(".run"), _plan(data, preset), restart=options.restart)
        with Chips(data, preset, progress=progress) as chips:
            records = fit(network, chips, preset, card, run, fabric=fabric, progress=progress or Silent())
            save_checkpoint(folder / output.name, read_tensors(run.best)[0], card)
            draw_curves(records, run.path / "curves.png")
            best, _ = load_checkpoint(folder / output.name)
            samples = choose_samples(best, chips.validation_batches(), preset.data)
            draw_samples(samples, run.path / "samples.png")
    kept = best_record(records)
    return TrainSummary(
        output=str(output),
        run_folder=str(run.path),
        title=preset.title,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        device=fabric.device.type,
        training_chips=round(sum(source.training_chips for source in chips.summaries), 1),
        validation_chips=round(sum(source.validation_chips for source in chips.summaries), 1),
        epochs=len(records),
        resumed_after_epoch=len(run.records),
        best_epoch=kept.epoch,
        validation_iou=kept.iou,
        validation_iou_by_source=kept.iou_by_source,
        skipped_steps=sum(record.skipped_steps for record in records),
        seconds=round(sum(record.seconds for record in records), 1),
    )


def _card(preset: Preset, *, stride: int) -> ModelCard:
    """Describe the model.

    Raises:
        MismatchError: If chips or windows do not fit the network.
    """
    if preset.training.chip_px % stride:
        raise MismatchError(
            f"chip_px {preset.training.chip_px} is not a multiple of the network's stride {stride}"
        )
    try:
        return ModelCard(
            title=preset.title,
            model=preset.model,
            data=preset.data,
            stride=stride,
            window_px=preset.predict.window_px,
            halo_px=preset.predict.halo_px,
            threshold=preset.predict.threshold,
            scale=1,
            classes=("building",),
            license=preset.license,
            training_data=preset.training_data,
            fingerprint="",
        )
    except ValueError as error:
        raise MismatchError(f"preset '{preset.title}': {error}") from error


def _plan(data: Path, preset: Preset) -> dict[str, Any]:
    """Gather everything that decides the weights; how they are used later may change."""
    tables = asdict(preset)
    plan = {name: tables[name] for name in ("data", "model", "loss", "augment", "training")}
    files = {name for pair in list_pairs(data, preset.sources) for name in (pair.image, pair.annotations)}
    plan["sources"] = [asdict(pair) for pair in list_pairs(data, preset.sources)]
    plan["files"] = {name: fingerprint_file(data / name) for name in sorted(files) if (data / name).exists()}
    return plan
