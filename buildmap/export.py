"""The story of `buildmap export`: a torch model becomes one ONNX file that runs without torch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from buildmap.errors import MismatchError, OutputError, ResourceError
from buildmap.publish import check_distinct, staged

TOLERANCE = 1e-3
"""Largest accepted difference of a probability between torch and ONNX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written."""

    output: str
    """The ONNX file."""
    model: str
    """Title of the model."""
    parameters: int
    """Learned numbers in the network."""
    size_mb: float
    """Size of the file in MB."""
    largest_difference: float
    """Largest absolute difference of a probability between torch and ONNX, on random images."""


def export(model: Path, output: Path, *, overwrite: bool = False) -> ExportSummary:
    """Write a `.safetensors` model as `.onnx`, and check that both give the same probabilities.

    Raises:
        InputError: If `model` is not a buildmap model.
        MismatchError: If the exported model's probabilities differ by more than `TOLERANCE`.
        OutputError: If the output exists already, or cannot be created.
        ResourceError: If torch is not installed.
    """
    if find_spec("torch") is None:
        raise ResourceError(
            "export needs torch, which is not installed", hint="pip install 'buildmap[torch]'"
        )
    from buildmap.inference.onnx_export import export_onnx, largest_difference
    from buildmap.models.checkpoint import load_checkpoint

    check_distinct(output, model)
    if output.suffix.lower() != ".onnx":
        raise OutputError(f"{output} does not end in .onnx", hint=f"{output.stem}.onnx")
    with staged(output, overwrite=overwrite) as folder:
        network, card = load_checkpoint(model)
        whole = folder / output.name
        export_onnx(network, card, whole)
        difference = largest_difference(network, card, whole)
        if difference > TOLERANCE:
            raise MismatchError(f"ONNX differs from torch by {difference:.2g}, more than {TOLERANCE:.2g}")
        size_mb = whole.stat().st_size / 1e6
    return ExportSummary(
        output=str(output),
        model=card.title,
        parameters=sum(p.numel() for p in network.parameters()),
        size_mb=round(size_mb, 3),
        largest_difference=difference,
    )
