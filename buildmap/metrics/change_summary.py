"""What an evaluation of changes, or of a series, found: what `--json` prints, and its table."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from buildmap.metrics.change import ChangeScores
from buildmap.metrics.tracks import Found, Scot

SCHEMA_VERSION = 1
"""Of both summaries; a field that changes its meaning changes it."""

Row = dict[str, str | float | int | None]
"""Values by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePair:
    """How good one layer of changes is."""

    prediction: str
    """File."""
    truth: str
    """File."""
    crs: str | None
    """In which the two were compared; None where nothing says."""
    scores: ChangeScores
    """Of this pair alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSummary:
    """How good layers of changes are: altogether, and one by one."""

    schema_version: int
    """`SCHEMA_VERSION`."""
    measure: str
    """`change`."""
    iou_min: float
    """Intersection over union from which two rows were taken for the same building."""
    empty_rule: str
    """What a share of nothing in nothing is worth: an `EmptyRule`."""
    pairs: tuple[ChangePair, ...]
    """One by one."""
    total: ChangeScores
    """Of all pairs taken together."""
    seconds: float
    """Wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDate:
    """One date of a series."""

    name: str
    """Stem of the files."""
    prediction: str
    """File."""
    truth: str
    """File."""
    found: Found
    """Buildings, whatever their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesScores:
    """How well the buildings of one area were tracked."""

    name: str
    """Of the area: that of its folder."""
    dates: tuple[SeriesDate, ...]
    """In the order in which they were compared."""
    scot: Scot
    """SCOT, and what it is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScotSummary:
    """How well buildings were tracked, altogether and area by area."""

    schema_version: int
    """`SCHEMA_VERSION`."""
    measure: str
    """`scot`."""
    iou_min: float
    """Intersection over union from which two footprints were taken for the same building."""
    beta: float
    """Weight of tracking against change."""
    score: float
    """Mean of the SCOT of all areas."""
    areas: tuple[SeriesScores, ...]
    """One by one."""
    seconds: float
    """Wall time."""


def change_rows(summary: ChangeSummary) -> list[Row]:
    """Give a line for each pair, and the total, and each label: `status`, `change` (any of them), `kind`."""
    rows: list[Row] = []
    for pair in summary.pairs:
        place: Row = {"scope": "pair", "prediction": pair.prediction, "truth": pair.truth}
        rows += [place | line for line in _labels(pair.scores)]
    total: Row = {"scope": "total", "prediction": None, "truth": None}
    return rows + [total | line for line in _labels(summary.total)]


def scot_rows(summary: ScotSummary) -> list[Row]:
    """Give a line for each date, each area and the mean of all areas, all with the same columns."""
    rows: list[Row] = []
    for area in summary.areas:
        scot = area.scot
        rows += [_series_row("date", area.name, date.name, date.found) for date in area.dates]
        rows.append(
            _series_row("area", area.name, None, scot.buildings)
            | {"mismatches": scot.mismatches, "tracking": scot.tracking.f1, "change": scot.change.f1}
            | {f"change_{name}": getattr(scot.change, name) for name in ("tp", "fp", "fn")}
            | {"scot": scot.score}
        )
    return [*rows, _series_row("mean", None, None, None) | {"scot": summary.score}]


def to_csv(rows: list[Row]) -> str:
    """Write lines with full precision and a header; what is None or NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: None if _is_nan(value) else value for name, value in row.items()})
    return text.getvalue()


def _labels(scores: ChangeScores) -> Iterator[Row]:
    groups = {"status": scores.statuses, "change": {"any": scores.change}, "kind": scores.kinds or {}}
    for group, labels in groups.items():
        for label, found in labels.items():
            yield {"of": group, "label": label, **asdict(found)}


def _series_row(scope: str, area: str | None, date: str | None, found: Found | None) -> Row:
    counts = {name: None if found is None else getattr(found, name) for name in ("tp", "fp", "fn", "f1")}
    rest = ("mismatches", "tracking", "change", "change_tp", "change_fp", "change_fn", "scot")
    return {"scope": scope, "area": area, "date": date, **counts, **dict.fromkeys(rest)}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
