"""The story of `buildmap export`: a model becomes one ONNX file that runs without torch."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from buildmap.contract import HaloRow, ModelCard
from buildmap.errors import InputError, MismatchError, OutputError, ResourceError
from buildmap.execution.progress import Progress, Silent
from buildmap.preset import Preset, find_preset
from buildmap.publish import check_distinct, staged

if TYPE_CHECKING:
    from buildmap.inference.quantize import Quantized

TOLERANCE = 1e-3
"""Largest accepted difference of a probability, or of a box in pixels, between torch and ONNX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Real images, to measure on."""

    folder: Path
    """Rasters and annotations, as for `train`."""
    preset: Preset | None = None
    """Lists the sources and splits their ground as in training; None takes the shipped one of the
    model's architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written."""

    output: str
    """The ONNX file."""
    model: str
    """Title of the model."""
    size_mb: float
    """Size of the file in MB."""
    parameters: int | None
    """Learned numbers in the network; None where the model was ONNX already."""
    largest_difference: float | None
    """Largest absolute difference of a probability, or of a box in pixels, between torch and ONNX, on random
    images; None likewise."""
    int8: "Quantized | None"
    """What eight bits cost and give; None for a float32 file."""
    window_px: int
    """Side of the windows that `predict` cuts by default."""
    halo_px: int
    """Context on every side of their cores."""
    halo: str
    """Whether window and halo were measured, or where they come from."""
    halo_table: tuple[HaloRow, ...]
    """Windows and halos measured on real imagery, cheapest first."""


def export(
    model: Path,
    output: Path,
    *,
    int8: bool = False,
    material: Material | None = None,
    deepness: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write a model as ONNX, checked against torch, and measure what can be measured.

    Args:
        model: `.safetensors`, or an `.onnx` to quantize or to measure.
        output: `.onnx`.
        int8: Quantize; needs `material`.
        material: Where it is given, window and halo are measured on it and written into the card.
        deepness: Write it for the QGIS plugin Deepness, not for `predict`.
        overwrite: Replace an existing output.
        progress: Hears of each measurement.

    Raises:
        InputError: If `model` is not a buildmap model, or the material cannot be used.
        MismatchError: If the exported model's results differ by more than `TOLERANCE`, int8 loses too much,
            or material is given for a model that has nothing to be measured.
        OutputError: If the output exists already, or cannot be created.
        ResourceError: If torch or onnx is not installed.
    """
    if int8 and material is None:
        raise ValueError("int8 needs material to be calibrated on")
    _check_installed(model)
    check_distinct(output, model)
    if output.suffix.lower() != ".onnx":
        raise OutputError(f"{output} does not end in .onnx", hint=f"{output.stem}.onnx")
    if model.suffix.lower() == ".onnx" and material is None and not deepness:
        raise InputError(
            f"{model} is ONNX already",
            hint="--data DIR measures its halo, and allows --int8; --deepness writes it for QGIS",
        )
    listener = progress or Silent()
    with staged(output, overwrite=overwrite) as folder:
        whole = folder / output.name
        parameters, difference = _write_float(model, whole)
        quantized = None
        if material is not None:
            _check_measurable(_card(whole))
            preset = preset_for(_card(whole), material.preset)
            quantized = _quantize(whole, material.folder, preset, listener) if int8 else None
            _measure(whole, material.folder, preset, listener)
        card = _card(whole)
        if deepness:
            _fit_deepness(whole, card)
        size_mb = whole.stat().st_size / 1e6
    return ExportSummary(
        output=str(output),
        model=card.title,
        size_mb=round(size_mb, 3),
        parameters=parameters,
        largest_difference=difference,
        int8=quantized,
        window_px=card.window_px,
        halo_px=card.halo_px,
        halo="as the model's card says: not measured without --data" if material is None else "measured",
        halo_table=card.halo_table,
    )


def _check_installed(model: Path) -> None:
    needed = ["onnx"] if model.suffix.lower() == ".onnx" else ["torch", "onnx"]
    for package in needed:
        if find_spec(package) is None:
            raise ResourceError(
                f"export needs {package}, which is not installed", hint="pip install 'buildmap[torch]'"
            )


def _write_float(model: Path, whole: Path) -> tuple[int | None, float | None]:
    """Write the float32 file; give the network's parameters and the difference from torch.

    Raises:
        MismatchError: If that is larger than `TOLERANCE`.
    """
    if model.suffix.lower() == ".onnx":
        _card(model)
        copyfile(model, whole)
        return None, None
    from buildmap.inference.onnx_export import export_onnx, largest_difference
    from buildmap.inference.onnx_instances import export_instances, largest_instance_difference
    from buildmap.models.checkpoint import load_checkpoint
    from buildmap.models.instance_network import InstanceNetwork

    network, card = load_checkpoint(model)
    if isinstance(network, InstanceNetwork):
        export_instances(network, card, whole)
        difference = largest_instance_difference(network, card, whole)
    else:
        export_onnx(network, card, whole)
        difference = largest_difference(network, card, whole)
    if difference > TOLERANCE:
        raise MismatchError(f"ONNX differs from torch by {difference:.2g}, more than {TOLERANCE:.2g}")
    return sum(parameter.numel() for parameter in network.parameters()), difference


def _fit_deepness(whole: Path, card: ModelCard) -> None:
    """Replace the file by one that the plugin runs."""
    import onnx

    from buildmap.inference.deepness import fit_deepness

    onnx.save(fit_deepness(onnx.load(whole, load_external_data=False), card), whole)


def _check_measurable(card: ModelCard) -> None:
    if card.model.instances is not None:
        raise MismatchError(
            f"'{card.title}' finds buildings one by one; halo and int8 are measured on probability",
            hint="leave out --data and --int8",
        )


def preset_for(card: ModelCard, given: Preset | None) -> Preset:
    """Give the preset that says how the material is read.

    Bands, GSD and scaling are the model's, chips are whole strides, and colours are left as they are. No
    preset means the one named as the network.
    """
    preset = given or find_preset(card.model.name)
    still = replace(preset.augment, brightness=0.0, contrast=0.0, color=0.0)
    whole_strides = -(-preset.training.chip_px // card.stride) * card.stride
    training = replace(preset.training, chip_px=whole_strides)
    return replace(preset, data=card.data, augment=still, training=training)


def _quantize(whole: Path, folder: Path, preset: Preset, progress: Progress) -> "Quantized":
    """Replace a float32 file by an int8 one."""
    from buildmap.data.dataset import Chips
    from buildmap.inference.quantize import quantize

    int8 = whole.with_name(f"int8-{whole.name}")
    with Chips(folder, preset, progress=progress) as chips:
        quantized = quantize(whole, int8, chips, progress=progress)
    int8.replace(whole)
    return quantized


def _measure(whole: Path, folder: Path, preset: Preset, progress: Progress) -> None:
    """Measure the halo, and write what was found into the card."""
    from buildmap.inference.backend import load_backend
    from buildmap.inference.devices import BackendOptions
    from buildmap.inference.halo import choose_row, measure_halo, most_flips, read_large_images, whole_side
    from buildmap.inference.onnx_card import is_int8, write_card

    backend = load_backend(whole, BackendOptions(device="cpu"))
    card = backend.card
    images = read_large_images(folder, preset.sources, card.data, side_px=whole_side(backend))
    table = measure_halo(backend, images, progress=progress)
    best = choose_row(table, limit=most_flips(card.model.name, int8=is_int8(whole)))
    write_card(whole, replace(card, window_px=best.window_px, halo_px=best.halo_px, halo_table=table))


def _card(model: Path) -> ModelCard:
    from buildmap.inference.backend import open_models
    from buildmap.inference.devices import BackendOptions

    return open_models((model,), BackendOptions(device="cpu")).card
