"""The tables of a run's page: what was learned from, and how good it is where."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from buildmap.data.dataset import SourceSummary
from buildmap.data.sources import TrainingSource
from buildmap.metrics.confusion import Confusion, scores
from buildmap.metrics.layout import UNDEFINED, Line, Table, count, share
from buildmap.training.record import EpochRecord
from buildmap.vector.reader import Repairs

MOST_SOURCES = 200
"""Sources listed one by one."""
_REPAIRS = {
    "null": "without geometry, dropped",
    "empty": "empty, dropped",
    "not_finite": "not finite, dropped",
    "not_polygonal": "no polygon, dropped",
    "flattened": "Z or M dropped",
    "mended": "invalid, mended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What one source gave."""

    name: str
    """The raster's path in the data folder, without suffix."""
    gsd_m: float | None
    """Of its chips, metres; None where it is not known."""
    training_chips: float
    """Valid training ground in chips' areas."""
    validation_chips: float
    """Valid validation ground, likewise."""
    footprints: int | None
    """Polygons on the annotated ground; None for a mask raster."""
    repairs: Repairs | None
    """What was repaired or dropped of them; None for a mask raster."""
    dropped: tuple[int, int] | None
    """Buildings taken out of the training annotations on purpose, and of how many; None where none were."""


def source_facts(
    sources: Sequence[TrainingSource], summaries: Sequence[SourceSummary]
) -> tuple[SourceFacts, ...]:
    """Gather what is told of each source, in their order."""
    return tuple(
        SourceFacts(
            name=summary.name,
            gsd_m=source.gsd_m,
            training_chips=summary.training_chips,
            validation_chips=summary.validation_chips,
            footprints=summary.footprints,
            repairs=summary.repairs,
            dropped=None if source.dropped is None else (source.dropped.buildings, source.dropped.of),
        )
        for source, summary in zip(sources, summaries, strict=True)
    )


def data_tables(facts: Sequence[SourceFacts]) -> tuple[Table, ...]:
    """Tell what there was to learn from, and what was wrong with it; a column of nothing is left out."""
    columns: dict[str, Callable[[SourceFacts], str]] = {
        "GSD, m": lambda source: UNDEFINED if source.gsd_m is None else f"{source.gsd_m:.3g}",
        "training chips": lambda source: f"{source.training_chips:,.1f}",
        "validation chips": lambda source: f"{source.validation_chips:,.1f}",
        "footprints": lambda source: count(source.footprints),
    }
    if any(source.dropped for source in facts):
        columns["left out on purpose"] = _left_out
    for field in fields(Repairs):
        if any(source.repairs is not None and getattr(source.repairs, field.name) for source in facts):
            columns[_REPAIRS.get(field.name, field.name)] = _repaired(field.name)
    lines = tuple(
        Line(name=source.name, cells=tuple(cell(source) for cell in columns.values()))
        for source in facts[:MOST_SOURCES]
    )
    hidden = len(facts) - len(lines)
    title = f"The first {len(lines)}; {count(hidden)} more" if hidden else "Each raster with its annotations"
    return (_totals(facts), Table(title=title, head=("", *columns), lines=lines))


def score_tables(record: EpochRecord, facts: Sequence[SourceFacts]) -> tuple[Table, ...]:
    """Score each source, the worst first, and each GSD, the finest first, by the counts of one epoch."""
    counts = {name: _confusion(pixels) for name, pixels in record.counts_by_source.items()}
    if not counts:
        return ()
    gsd_m = {source.name: source.gsd_m for source in facts}
    by_gsd: dict[str, Confusion] = {}
    for name in sorted(counts, key=lambda name: gsd_m.get(name) or math.inf):
        known = gsd_m.get(name)
        label = "unknown" if known is None else f"{known:.2g} m"
        by_gsd[label] = by_gsd.get(label, Confusion()) + counts[name]
    by_source = dict(sorted(counts.items(), key=lambda pair: (pair[1].iou, pair[0]))[:MOST_SOURCES])
    tables = [_scored("By GSD", by_gsd), _scored("By source, worst first", by_source)]
    return tuple(table for table in tables if len(table.lines) > 1) or (_scored("Scores", by_source),)


def _totals(facts: Sequence[SourceFacts]) -> Table:
    lines = [
        Line(name="Sources", cells=(count(len(facts)),)),
        Line(
            name="Training chips",
            cells=(f"{sum(source.training_chips for source in facts):,.1f}",),
            note="valid ground, in the area of a chip",
        ),
        Line(name="Validation chips", cells=(f"{sum(source.validation_chips for source in facts):,.1f}",)),
        Line(name="Footprints", cells=(count(sum(source.footprints or 0 for source in facts)),)),
    ]
    repairs = sum((source.repairs for source in facts if source.repairs is not None), Repairs())
    lines += [
        Line(name="Footprints dropped", cells=(count(repairs.dropped),), note="they could not be used"),
        Line(name="Footprints mended", cells=(count(repairs.mended),), note="they were invalid"),
    ]
    dropped = [source.dropped for source in facts if source.dropped is not None]
    if dropped:
        taken, of = (sum(numbers) for numbers in zip(*dropped, strict=True))
        note = f"of {count(of)} on training ground: an experiment"
        lines.append(Line(name="Left out on purpose", cells=(count(taken),), note=note))
    return Table(title="In all", head=("", "number"), lines=tuple(lines))


def _left_out(source: SourceFacts) -> str:
    return UNDEFINED if source.dropped is None else f"{source.dropped[0]:,} of {source.dropped[1]:,}"


def _repaired(kind: str) -> Callable[[SourceFacts], str]:
    def cell(source: SourceFacts) -> str:
        return UNDEFINED if source.repairs is None else count(getattr(source.repairs, kind))

    return cell


def _confusion(pixels: Sequence[int]) -> Confusion:
    tp, fp, fn, tn = pixels
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)


def _scored(title: str, counts: dict[str, Confusion]) -> Table:
    lines = []
    for name, confusion in counts.items():
        found = scores(confusion)
        values = (found.iou, found.f1, found.precision, found.recall, found.balanced_accuracy)
        lines.append(Line(name=name, cells=tuple(map(share, values))))
    head = ("", "IoU", "F1", "precision", "recall", "balanced accuracy")
    return Table(title=title, head=head, lines=tuple(lines))
