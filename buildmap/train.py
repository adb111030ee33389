"""The story of `buildmap train`: rasters and annotations become a model file."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from buildmap import __version__
from buildmap.contract import ModelCard
from buildmap.data.dataset import Chips
from buildmap.data.pairs import list_pairs
from buildmap.errors import MismatchError, OutputError
from buildmap.execution.progress import Progress, Silent
from buildmap.metrics.confusion import PixelScores
from buildmap.models.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from buildmap.models.instance_network import InstanceNetwork
from buildmap.models.network import Network
from buildmap.preset import Preset
from buildmap.provenance import fingerprint_file
from buildmap.publish import check_distinct, staged
from buildmap.training.audit import Audit, audit, check_auditable, write_audit
from buildmap.training.device import find_devices
from buildmap.training.figures import draw_curves
from buildmap.training.first_phase import (
    FirstPhase,
    check_pretraining,
    compare_maps,
    learn_to_draw,
    network_of,
    triplets_of,
)
from buildmap.training.loop import fit, fresh_network
from buildmap.training.overlays import choose_overlays, draw_overlays
from buildmap.training.processes import Task, run_on
from buildmap.training.record import EpochRecord, best_record
from buildmap.training.report import RunReport, render
from buildmap.training.run_folder import RunFolder
from buildmap.training.run_tables import source_facts
from buildmap.training.testing import test
from buildmap.vector.writing.formats import check_format


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
    validation_f1: float | None
    """F1, which is the Dice score, likewise."""
    validation_balanced_accuracy: float | None
    """Mean of the recalls of building and background, likewise."""
    validation_iou_by_source: Mapping[str, float]
    """Micro-IoU per source."""
    test_iou: float | None
    """Micro-IoU over all ground for the test, with the weights that were kept; None without such ground."""
    test_mean_iou: float | None
    """Mean of that and of the background's IoU, likewise."""
    test_f1: float | None
    """F1, likewise."""
    test_balanced_accuracy: float | None
    """Mean of the recalls of building and background, likewise."""
    dropped_annotations: int
    """Buildings taken out of the training annotations on purpose."""
    missing_buildings: int | None
    """Places where the audit says that the map lacks a building; None without an audit."""
    phantom_buildings: int | None
    """Buildings of the map that the audit does not see; None without an audit."""
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
    """As `find_devices` takes it."""
    audit_annotations: Path | None = None
    """Layer of the places where the network disbelieves the map; None for no audit."""
    tensorboard: bool = False
    """Write what TensorBoard shows into the run folder."""
    command: str = ""
    """What was typed, for the run's page."""
    stop_after: int | None = None
    """Epochs after which to end for now, with the best model so far; the same training goes on from there."""


_DEFAULTS = TrainOptions()
_DECISIVE = ("data", "model", "loss", "augment", "sampling", "training", "maps", "pretrain")
"""Tables of a preset that decide the weights."""


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
    check_model_file(output, preset)
    with ExitStack() as stack:
        folder = stack.enter_context(staged(output, overwrite=options.overwrite))
        progress = progress or Silent()
        network, plan = fresh_network(preset), _plan(data, preset)
        layer = _staged_audit(options, network, [data / name for name in plan["files"]], stack)
        check_pretraining(preset, network)
        card, devices = _card(preset, network), find_devices(options.device)
        run = _run_folder(output.with_suffix(".run"), plan, options)
        examples = None
        if preset.pretrain is not None:
            phase = FirstPhase(data=data, preset=preset, run=run.path, plan=plan, card=card)
            examples = learn_to_draw(phase, devices, restart=options.restart, progress=progress)
            network = network_of(preset, run.path)
        triplets = triplets_of(preset, network)
        chips = stack.enter_context(Chips(data, preset, progress=progress, triplets=triplets))
        if layer is not None:
            check_auditable(chips.sources)
        task: Task[tuple[EpochRecord, ...]] = partial(fit, network, chips, preset, card, run)
        if len(devices.indices) > 1:
            task = _Share(data=data, preset=preset, card=card, path=run.path, plan=plan, options=options)
        precision = preset.training.precision
        records = run_on(devices, task, precision=precision, progress=progress)
        save_checkpoint(folder / output.name, read_tensors(run.best)[0], card)
        best, _ = load_checkpoint(folder / output.name)
        best.to(devices.first)
        found = None
        if layer is not None:
            found = audit(
                best, chips.sources, preset, stride=card.stride, device=devices.first, progress=progress
            )
            write_audit(found, layer)
        report = RunReport(
            preset=preset,
            command=options.command,
            version=__version__,
            device=str(devices),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            records=records,
            kept=best_record(records, preset.training.metric),
            sources=source_facts(chips.sources, chips.summaries),
            overlays=choose_overlays(best, chips.validation_batches, preset, device=devices.first),
            maps=compare_maps(examples, best, preset, run.path, device=devices.first),
            notes=_notes(found, options),
        )
        _show(report, run.path)
        tested = test(best, chips, preset, devices)
    return _summary(output, run, report, chips, found, tested)


def check_model_file(output: Path, preset: Preset) -> None:
    """Refuse a file that a training by this preset cannot write.

    Raises:
        OutputError: If its name does not end as those of models do, or it holds weights that the preset
            begins with.
    """
    if output.suffix.lower() != ".safetensors":
        raise OutputError(f"{output} does not end in .safetensors", hint=f"{output.stem}.safetensors")
    names = [preset.model.encoder_weights]
    if preset.pretrain is not None:
        names += [preset.pretrain.generator, preset.pretrain.perceptual_weights]
    check_distinct(output, *[Path(name) for name in names if name is not None])


def _summary(
    output: Path,
    run: RunFolder,
    report: RunReport,
    chips: Chips,
    found: Audit | None,
    tested: PixelScores | None,
) -> TrainSummary:
    records, kept = report.records, report.kept
    return TrainSummary(
        output=str(output),
        run_folder=str(run.path),
        title=report.preset.title,
        parameters=report.parameters,
        device=report.device,
        training_chips=round(sum(source.training_chips for source in chips.summaries), 1),
        validation_chips=round(sum(source.validation_chips for source in chips.summaries), 1),
        epochs=len(records),
        resumed_after_epoch=len(run.records),
        best_epoch=kept.epoch,
        validation_iou=kept.iou,
        validation_f1=kept.f1,
        validation_balanced_accuracy=kept.balanced_accuracy,
        validation_iou_by_source=kept.iou_by_source,
        test_iou=None if tested is None else tested.iou,
        test_mean_iou=None if tested is None else tested.mean_iou,
        test_f1=None if tested is None else tested.f1,
        test_balanced_accuracy=None if tested is None else tested.balanced_accuracy,
        dropped_annotations=sum(source.dropped.buildings for source in chips.sources if source.dropped),
        missing_buildings=None if found is None else found.missing,
        phantom_buildings=None if found is None else found.phantoms,
        skipped_steps=sum(record.skipped_steps for record in records),
        seconds=round(sum(record.seconds for record in records), 1),
    )


def _run_folder(path: Path, plan: Mapping[str, Any], options: TrainOptions) -> RunFolder:
    return RunFolder(
        path,
        plan,
        restart=options.restart,
        tensorboard=options.tensorboard,
        stop_after=options.stop_after,
    )


def _staged_audit(
    options: TrainOptions, network: Network | InstanceNetwork, inputs: Sequence[Path], stack: ExitStack
) -> Path | None:
    """Make sure, before any learning, that the audit's layer can be written; give where."""
    path = options.audit_annotations
    if path is None:
        return None
    if network.scale != 1:
        raise MismatchError(
            f"the network predicts at scale {network.scale}, and annotations are audited at scale 1",
            hint="leave out --audit-annotations",
        )
    check_format(path)
    check_distinct(path, *inputs)
    return stack.enter_context(staged(path, overwrite=options.overwrite)) / path.name


def _notes(found: Audit | None, options: TrainOptions) -> tuple[tuple[str, str], ...]:
    if found is None or options.audit_annotations is None:
        return ()
    counts = f"{found.missing:,} missing and {found.phantoms:,} phantom buildings"
    return (("Audit", f"{counts} in {options.audit_annotations.name}"),)


def _show(report: RunReport, folder: Path) -> None:
    """Draw how the training went and what came of it; lay all of it out on one page."""
    draw_curves(report.records, folder / "curves.png", kept=report.kept.epoch)
    draw_overlays(report.overlays, folder / "samples.png")
    (folder / "index.html").write_text(render(report), encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What each of several processes does: the whole training, on a share of every batch."""

    data: Path
    """Folder of rasters and annotations; every process opens them for itself."""
    preset: Preset
    """Everything that decides the weights, together with `data`."""
    card: ModelCard
    """Of the model."""
    path: Path
    """The run folder."""
    plan: Mapping[str, Any]
    """What an earlier run in it must have followed."""
    options: TrainOptions
    """How the training runs."""

    def __call__(self, *, fabric: Fabric, progress: Progress) -> tuple[EpochRecord, ...]:
        network = network_of(self.preset, self.path)
        tensorboard = self.options.tensorboard and fabric.is_global_zero
        run = _run_folder(self.path, self.plan, replace(self.options, tensorboard=tensorboard))
        with Chips(self.data, self.preset, triplets=triplets_of(self.preset, network)) as chips:
            return fit(network, chips, self.preset, self.card, run, fabric=fabric, progress=progress)


def _card(preset: Preset, network: Network | InstanceNetwork) -> ModelCard:
    """Describe the model.

    Raises:
        MismatchError: If chips or windows do not fit the network.
    """
    stride = network.stride
    for name in ("chip_px", "validation_chip_px"):
        side_px = getattr(preset.training, name) or 0
        if side_px % stride and not network.any_size:
            raise MismatchError(f"{name} {side_px} is not a multiple of the network's stride {stride}")
    try:
        return ModelCard(
            title=preset.title,
            model=preset.model,
            data=preset.data,
            stride=stride,
            window_px=preset.predict.window_px,
            halo_px=preset.predict.halo_px,
            threshold=preset.predict.threshold,
            scale=network.scale,
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
    plan = {name: tables[name] for name in _DECISIVE}
    pairs = list_pairs(data, preset.sources)
    files = {name for pair in pairs for name in (pair.image, pair.annotations)}
    files |= {layer.path for layer in preset.maps.layers} if preset.maps is not None else set()
    plan["sources"] = [asdict(pair) for pair in pairs]
    plan["files"] = {name: fingerprint_file(data / name) for name in sorted(files) if (data / name).exists()}
    return plan
