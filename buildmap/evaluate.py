"""The story of `buildmap evaluate`: predictions and truths in, scores out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildmap.data.pairs import RASTER_SUFFIXES, VECTOR_SUFFIXES, bad_inputs
from buildmap.errors import InputError, MissingInput
from buildmap.execution.progress import Progress, Silent
from buildmap.metrics.confusion import Confusion, PixelScores, macro_scores, scores
from buildmap.metrics.instances import Instances, InstanceScores, instance_scores
from buildmap.metrics.scoring import IOU_MIN, Evaluation, score_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSummary:
    """How good one prediction is."""

    prediction: str
    """File."""
    truth: str
    """File."""
    confusion: Confusion
    """Pixels."""
    pixels: PixelScores
    """Scores of these pixels."""
    instances: Instances
    """Buildings."""
    objects: InstanceScores
    """Scores of these buildings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary:
    """How good predictions are, altogether and one by one."""

    schema_version: int
    """Of this object; a field that changes its meaning changes it."""
    threshold: float
    """Probability from which a pixel was taken for a building."""
    iou_min: float
    """Intersection over union from which two footprints were taken for the same building."""
    pairs: tuple[PairSummary, ...]
    """One by one."""
    confusion: Confusion
    """Pixels of all pairs."""
    micro: PixelScores
    """Scores of all pixels taken together."""
    macro: PixelScores
    """Mean over the pairs of the scores of each."""
    instances: Instances
    """Buildings of all pairs."""
    objects: InstanceScores
    """Scores of all buildings taken together."""
    buildings: int
    """True buildings on the ground that counts."""
    seconds: float
    """Wall time."""


def evaluate(
    prediction: Path,
    truth: Path,
    evaluation: Evaluation | None = None,
    *,
    progress: Progress | None = None,
) -> EvaluateSummary:
    """Score a prediction against the truth, each a raster or a vector layer in any CRS.

    Two folders are compared file by file, by stem.

    Args:
        prediction: Probability, mask or footprints; or a folder of them.
        truth: Mask, probability or footprints; or a folder of them.
        evaluation: Which ground counts, and what is a building.
        progress: Hears of every strip.

    Raises:
        MissingInput: If a file is not there, or lacks its partner.
        InputError: If a file cannot be used, or a pair has no ground in common.
        StorageError: If reading fails.
    """
    started = time.monotonic()
    evaluation = evaluation or Evaluation()
    pairs = tuple(
        _summarize(predicted, true, evaluation, progress or Silent())
        for predicted, true in find_pairs(prediction, truth)
    )
    confusion = sum((pair.confusion for pair in pairs), Confusion())
    instances = sum((pair.instances for pair in pairs), Instances())
    return EvaluateSummary(
        schema_version=1,
        threshold=evaluation.threshold,
        iou_min=IOU_MIN,
        pairs=pairs,
        confusion=confusion,
        micro=scores(confusion),
        macro=macro_scores([pair.confusion for pair in pairs]),
        instances=instances,
        objects=instance_scores(instances),
        buildings=instances.tp + instances.fn,
        seconds=round(time.monotonic() - started, 2),
    )


def find_pairs(prediction: Path, truth: Path) -> Sequence[tuple[Path, Path]]:
    """Pair two files, or the files of two folders by their stems.

    Raises:
        MissingInput: If one is not there, or files lack a partner; all are named.
        InputError: If only one is a folder, or a stem is there twice.
    """
    for path in (prediction, truth):
        if not path.exists() and not str(path).startswith("/vsi"):
            raise MissingInput(f"{path} does not exist")
    if _is_folder(prediction) != _is_folder(truth):
        folder, file = (prediction, truth) if _is_folder(prediction) else (truth, prediction)
        raise InputError(f"{folder} is a folder, {file} is a file", hint="compare two files or two folders")
    if not _is_folder(prediction):
        return [(prediction, truth)]
    predicted, true = _by_stem(prediction), _by_stem(truth)
    if alone := sorted(predicted.keys() ^ true.keys()):
        problems = [f"{stem} is only in {prediction if stem in predicted else truth}" for stem in alone]
        raise MissingInput(str(bad_inputs(truth, problems)), hint="every file needs a partner of its stem")
    if not predicted:
        raise MissingInput(f"{prediction} holds no rasters or layers")
    return [(predicted[stem], true[stem]) for stem in sorted(predicted)]


def _summarize(prediction: Path, truth: Path, evaluation: Evaluation, progress: Progress) -> PairSummary:
    counts = score_pair(prediction, truth, evaluation, progress=progress)
    return PairSummary(
        prediction=str(prediction),
        truth=str(truth),
        confusion=counts.confusion,
        pixels=scores(counts.confusion),
        instances=counts.instances,
        objects=instance_scores(counts.instances),
    )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".gdb"


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in RASTER_SUFFIXES | VECTOR_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(
                f"{folder} has two files named {path.stem}: {found[path.stem].name}, {path.name}"
            )
        found[path.stem] = path
    return found
