"""The story of `buildmap evaluate`: predictions and truths in, scores out."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildmap.data.comparisons import Comparison
from buildmap.errors import InputError, OutputError
from buildmap.execution.progress import Progress, Silent
from buildmap.metrics import groups
from buildmap.metrics.confusion import EMPTY_RULES, macro_scores
from buildmap.metrics.counts import PairCounts, scores_of, total
from buildmap.metrics.evaluation import IOU_MIN, Evaluation
from buildmap.metrics.findings import intervals, make_report
from buildmap.metrics.mistakes import Mistakes
from buildmap.metrics.paired import compare_maps
from buildmap.metrics.report import render
from buildmap.metrics.scoring import PairFindings, score_pair
from buildmap.metrics.summary import SCHEMA_VERSION, EvaluateSummary, Group, PairSummary
from buildmap.metrics.table import to_csv
from buildmap.metrics.worst import WorstPlaces
from buildmap.publish import check_distinct, check_output, staged
from buildmap.raster.reader import RasterReader
from buildmap.schema import did_you_mean
from buildmap.vector.outlining import lowest_value
from buildmap.vector.writing.formats import check_format
from buildmap.vector.writing.layers import write_layers

_PLACES = 12
"""Worst places in a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What to write beside the summary; None is not written."""

    csv: Path | None = None
    """Table: a line for each pair, group and the total."""
    html: Path | None = None
    """Report in one file."""
    errors: Path | None = None
    """GeoPackage of the buildings that are false, missed, merged or split."""
    overwrite: bool = False
    """Replace what exists."""
    command: str = ""
    """What was typed, to be told in the report."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is to be written."""
        return tuple(path for path in (self.csv, self.html, self.errors) if path is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which parts to score one by one, besides regions and sizes (see `Evaluation`)."""

    gsd: bool = False
    """By bins of GSD."""
    columns: tuple[str, ...] = ()
    """By columns of the table of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the comparisons of all pairs with their truths gave."""

    pairs: Sequence[Comparison]
    findings: Sequence[PairFindings]
    others: Sequence[PairFindings] = field(default=())

    @property
    def counts(self) -> list[PairCounts]:
        return [found.counts for found in self.findings]


def evaluate(
    pairs: Sequence[Comparison],
    evaluation: Evaluation | None = None,
    *,
    grouping: Grouping | None = None,
    outputs: Outputs | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> EvaluateSummary:
    """Score predictions against the truth, each a raster or a vector layer in any CRS.

    Args:
        pairs: What to compare; see `data.comparisons`.
        evaluation: Which ground counts, what is a building, and what to measure.
        grouping: Parts that are scored one by one.
        outputs: Files to write.
        seed: Of the draws that intervals are made of.
        progress: Hears of every strip.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used, or a pair has no ground in common.
        OutputError: If a file cannot be written, or exists already.
        StorageError: If reading or writing fails.
    """
    started = time.monotonic()
    evaluation, outputs, grouping = evaluation or Evaluation(), outputs or Outputs(), grouping or Grouping()
    progress = progress or Silent()
    _check(pairs, evaluation, outputs)
    _check_columns(pairs, grouping)
    worst = WorstPlaces(_PLACES) if outputs.html else None
    mistakes = Mistakes() if outputs.errors else None
    with ExitStack() as writing:
        folders = {
            path: writing.enter_context(staged(path, overwrite=outputs.overwrite)) for path in outputs.files
        }
        rivals = [(pair.other, pair.truth) for pair in pairs if pair.other is not None]
        findings = [_score(pair, evaluation, progress, worst, mistakes) for pair in pairs]
        others = [_score_other(other, truth, evaluation, progress) for other, truth in rivals]
        found = _Found(pairs=pairs, findings=findings, others=others)
        _check_regions(found, evaluation)
        summary = _summarize(found, evaluation, grouping, seed)
        summary = replace(summary, seconds=round(time.monotonic() - started, 2))
        if outputs.csv:
            _write(folders[outputs.csv] / outputs.csv.name, to_csv(summary))
        if outputs.html and worst:
            page = render(make_report(findings, summary, worst.places, command=outputs.command))
            _write(folders[outputs.html] / outputs.html.name, page)
        if outputs.errors and mistakes:
            write_layers(folders[outputs.errors] / outputs.errors.name, mistakes.layers(), crs=mistakes.crs)
    return summary


def _check(pairs: Sequence[Comparison], evaluation: Evaluation, outputs: Outputs) -> None:
    """Refuse what cannot end well before hours of work."""
    if not pairs:
        raise ValueError("nothing to compare")
    if outputs.errors and not evaluation.takes_objects:
        raise ValueError("errors are those of buildings, which are not matched")
    if len({pair.other is None for pair in pairs}) > 1:
        raise InputError("some pairs have another prediction, some have none", hint="fill the column 'other'")
    layers = [evaluation.aoi, None if evaluation.regions is None else evaluation.regions[0]]
    files = [file for pair in pairs for file in (pair.prediction, pair.truth, pair.image, pair.other)]
    for path in outputs.files:
        check_output(path, overwrite=outputs.overwrite)
        check_distinct(path, *[file for file in (*layers, *files) if file is not None])
        if sum(path.resolve() == other.resolve() for other in outputs.files) > 1:
            raise OutputError(f"{path} would be written twice", hint="give every output a name of its own")
    if outputs.errors:
        check_format(outputs.errors)
    for image in {pair.image: None for pair in pairs} if outputs.html else ():
        if image is not None:
            RasterReader(image).close()


def _check_columns(pairs: Sequence[Comparison], grouping: Grouping) -> None:
    there = list(pairs[0].columns)
    for name in grouping.columns:
        if name not in there:
            raise InputError(
                f"the pairs have no column '{name}' to be grouped by",
                hint=did_you_mean(name, there) or f"columns: {', '.join(there) or 'none'}",
            )


def _check_regions(found: _Found, evaluation: Evaluation) -> None:
    if evaluation.regions is not None and not any(counts.regions for counts in found.counts):
        raise InputError(
            f"{evaluation.regions[0]}: no polygon lies on the ground that was compared",
            hint="leave it out of --by, or give regions of that ground",
        )


def _score(
    pair: Comparison,
    evaluation: Evaluation,
    progress: Progress,
    worst: WorstPlaces | None,
    mistakes: Mistakes | None,
) -> PairFindings:
    """Compare one pair, and keep of its buildings only what is to be written."""
    if worst is not None:
        worst.image = pair.image
    found = score_pair(pair.prediction, pair.truth, evaluation, progress=progress, worst=worst)
    if mistakes is not None and found.comparison is not None:
        mistakes.add(found.comparison, found.grid.crs, prediction=pair.prediction.name)
    return replace(found, comparison=None)


def _score_other(other: Path, truth: Path, evaluation: Evaluation, progress: Progress) -> PairFindings:
    """Score another map of the same ground, as far as the comparison of the two looks at it."""
    measures = frozenset({"objects"} if evaluation.takes_objects else ())
    simpler = replace(evaluation, measures=measures, regions=None, by_size=False)
    return replace(score_pair(other, truth, simpler, progress=progress), comparison=None)


def _name_all(files: Sequence[Path]) -> str:
    """Name one file, or the folder that holds several."""
    folders = {file.parent for file in files}
    if len(set(files)) == 1:
        return str(files[0])
    return str(files[0].parent) if len(folders) == 1 else f"{files[0]} and {len(files) - 1} more"


def _summarize(found: _Found, evaluation: Evaluation, grouping: Grouping, seed: int) -> EvaluateSummary:
    together = total(found.counts)
    lowest = lowest_value(evaluation.threshold)
    confusions = [counts.histogram.confusion(lowest) for counts in found.counts]
    scores = scores_of(together, evaluation, sweep=True)
    others = [pair.other for pair in found.pairs if pair.other is not None]
    return EvaluateSummary(
        schema_version=SCHEMA_VERSION,
        threshold=evaluation.threshold,
        iou_min=IOU_MIN,
        empty_rule=evaluation.empty,
        pairs=tuple(
            _pair_summary(pair, one, evaluation)
            for pair, one in zip(found.pairs, found.findings, strict=True)
        ),
        total=scores,
        macro={rule: macro_scores(confusions, rule) for rule in EMPTY_RULES},
        groups=tuple(_groups(found, evaluation, grouping)),
        intervals=intervals(found.findings, seed=seed),
        paired=compare_maps(found.findings, found.others, seed=seed) if found.others else None,
        other=_name_all(others) if others else None,
        buildings=0 if scores.instances is None else scores.instances.tp + scores.instances.fn,
        seconds=0.0,
    )


def _pair_summary(pair: Comparison, found: PairFindings, evaluation: Evaluation) -> PairSummary:
    return PairSummary(
        prediction=str(pair.prediction),
        truth=str(pair.truth),
        gsd_m=found.gsd_m,
        crs=None if found.grid.crs is None else found.grid.crs.to_string(),
        alignment=found.alignment,
        scores=scores_of(found.counts, evaluation, sweep=False),
    )


def _groups(found: _Found, evaluation: Evaluation, grouping: Grouping) -> list[Group]:
    made: list[Group] = []
    if grouping.gsd:
        made += groups.by_gsd(found.counts, [one.gsd_m for one in found.findings], evaluation)
    for name in grouping.columns:
        made += groups.by_column(found.counts, [pair.columns for pair in found.pairs], name, evaluation)
    if evaluation.regions is not None:
        made += groups.by_region(found.counts, evaluation)
    if evaluation.by_size:
        made += groups.by_size(total(found.counts), evaluation)
    return made


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
