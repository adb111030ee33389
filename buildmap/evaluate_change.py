"""The story of `buildmap evaluate --change` and `--scot`: layers of changes, and series of layers, scored."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildmap.data.comparisons import Comparison, find_comparisons
from buildmap.errors import InputError
from buildmap.execution.progress import Progress, Silent
from buildmap.metrics.attributed import lie_within, read_both
from buildmap.metrics.change import (
    KIND,
    STATUS,
    ChangeCounts,
    change_scores,
    count_changes,
    side_of,
)
from buildmap.metrics.change_summary import (
    SCHEMA_VERSION,
    ChangePair,
    ChangeSummary,
    Row,
    ScotSummary,
    SeriesDate,
    SeriesScores,
    change_rows,
    scot_rows,
    to_csv,
)
from buildmap.metrics.confusion import EmptyRule
from buildmap.metrics.evaluation import IOU_MIN
from buildmap.metrics.ground import Box
from buildmap.metrics.tracks import BETA, Sighting, found_on, scot, sight, standing
from buildmap.metrics.tracks import IOU_MIN as SCOT_IOU_MIN
from buildmap.publish import check_distinct, staged

ID_COLUMN = "building_id"
"""Where `change` keeps the ids that live on from date to date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The layers of one area, date by date."""

    name: str
    """Of the area."""
    dates: tuple[Comparison, ...]
    """From the first date to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A CSV file to write beside the summary."""

    path: Path
    """The file."""
    overwrite: bool
    """Replace an old one."""


def evaluate_change(
    pairs: Sequence[Comparison],
    *,
    iou_min: float = IOU_MIN,
    ground: tuple[Path | None, Box | None] = (None, None),
    empty: EmptyRule = "epsilon",
    table: Table | None = None,
    progress: Progress | None = None,
) -> ChangeSummary:
    """Score layers of changes, as `change` writes them, against layers of what has changed.

    Args:
        pairs: What to compare; see `data.comparisons`.
        iou_min: Lowest intersection over union of two rows that are the same building.
        ground: Area of interest, and a box in the CRS of the truth: only rows inside both count.
        empty: What a share of nothing in nothing is worth.
        table: What to write.
        progress: Hears of every pair.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used, or no row of a truth counts.
        OutputError: If the table cannot be written, or exists already.
        StorageError: If reading or writing fails.
    """
    if not pairs:
        raise ValueError("nothing to compare")
    started = time.monotonic()
    progress = progress or Silent()
    with _written(table, pairs, ground[0]) as write:
        progress.start("compare changes", len(pairs))
        found, counts = [], []
        for pair in pairs:
            crs, counted = _count_pair(pair, iou_min=iou_min, ground=ground)
            found.append(
                ChangePair(
                    prediction=str(pair.prediction),
                    truth=str(pair.truth),
                    crs=crs,
                    scores=change_scores(counted, empty),
                )
            )
            counts.append(counted)
            progress.advance()
        summary = ChangeSummary(
            schema_version=SCHEMA_VERSION,
            measure="change",
            iou_min=iou_min,
            empty_rule=empty,
            pairs=tuple(found),
            total=change_scores(sum(counts[1:], start=counts[0]), empty),
            seconds=round(time.monotonic() - started, 2),
        )
        write(change_rows(summary))
    return summary


def evaluate_tracks(
    areas: Sequence[Series],
    *,
    id_columns: tuple[str, str] = (ID_COLUMN, ID_COLUMN),
    iou_min: float = SCOT_IOU_MIN,
    table: Table | None = None,
    progress: Progress | None = None,
) -> ScotSummary:
    """Score series of layers whose buildings carry ids by SCOT, SpaceNet 7's measure of tracking and change.

    Args:
        areas: Each with two dates at least.
        id_columns: Columns of ids in the predictions, and in the truths.
        iou_min: Lowest intersection over union of two footprints that are the same building.
        table: What to write.
        progress: Hears of every date.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used, a building has no id, or a series has one date only.
        OutputError: If the table cannot be written, or exists already.
        StorageError: If reading or writing fails.
    """
    if not areas:
        raise ValueError("nothing to compare")
    started = time.monotonic()
    progress = progress or Silent()
    with _written(table, [date for area in areas for date in area.dates]) as write:
        for area in areas:
            if len(area.dates) < 2:
                raise InputError(
                    f"{area.dates[0].truth.parent} holds one date only, {area.dates[0].truth.name}",
                    hint="a series has a layer for each of two dates or more",
                )
        progress.start("match dates", sum(len(area.dates) for area in areas))
        scored = tuple(_score_series(area, id_columns, iou_min=iou_min, progress=progress) for area in areas)
        summary = ScotSummary(
            schema_version=SCHEMA_VERSION,
            measure="scot",
            iou_min=iou_min,
            beta=BETA,
            score=sum(area.scot.score for area in scored) / len(scored),
            areas=scored,
            seconds=round(time.monotonic() - started, 2),
        )
        write(scot_rows(summary))
    return summary


def find_series(prediction: Path, truth: Path) -> tuple[Series, ...]:
    """Pair the layers of two folders by their stems, one a date, or those of their subfolders, one an area.

    Dates follow each other as their names do, numbers by their value: 2024-9 comes before 2024-10.

    Raises:
        MissingInput: If a folder is not there, or files or subfolders lack a partner.
        InputError: If one is a file, or a stem is there twice.
    """
    for path in (prediction, truth):
        if path.is_file():
            raise InputError(f"{path} is a file, not a folder with a layer for each date")
    names = sorted({folder.name for side in (prediction, truth) for folder in _subfolders(side)})
    if not names:
        return (series(find_comparisons(prediction, truth), name=truth.name),)
    return tuple(series(find_comparisons(prediction / name, truth / name), name=name) for name in names)


def series(dates: Sequence[Comparison], *, name: str) -> Series:
    """Put the dates of an area in order."""
    return Series(name=name, dates=tuple(sorted(dates, key=lambda date: _by_number(date.truth.stem))))


def _count_pair(
    pair: Comparison, *, iou_min: float, ground: tuple[Path | None, Box | None]
) -> tuple[str | None, ChangeCounts]:
    """Compare two layers; give the CRS in which that was done, too."""
    aoi, bbox = ground
    both = read_both(pair.prediction, pair.truth, columns=((STATUS,), (STATUS,)), optional=(KIND,))
    predicted, true = (
        side_of(layer, lie_within(layer.store, crs=both[1].crs, aoi=aoi, bbox=bbox)) for layer in both
    )
    if not true.counted.any():
        place = " within ".join(str(part) for part in (aoi, None if bbox is None else "--bbox") if part)
        raise InputError(
            f"{pair.truth} has no buildings{f' in {place}' if place else ''}: nothing could be told right"
            " from wrong",
            hint="--bbox is in the CRS of the truth" if bbox else None,
        )
    crs = both[1].crs
    return None if crs is None else crs.to_string(), count_changes(predicted, true, iou_min=iou_min)


def _score_series(
    area: Series, id_columns: tuple[str, str], *, iou_min: float, progress: Progress
) -> SeriesScores:
    sightings = [_sight(date, id_columns, iou_min=iou_min, progress=progress) for date in area.dates]
    return SeriesScores(
        name=area.name,
        dates=tuple(
            SeriesDate(
                name=date.truth.stem,
                prediction=str(date.prediction),
                truth=str(date.truth),
                found=found_on(sighting),
            )
            for date, sighting in zip(area.dates, sightings, strict=True)
        ),
        scot=scot(sightings),
    )


def _sight(date: Comparison, id_columns: tuple[str, str], *, iou_min: float, progress: Progress) -> Sighting:
    columns = ((id_columns[0],), (id_columns[1],))
    predicted, true = read_both(date.prediction, date.truth, columns=columns, optional=(STATUS,))
    found = sight(standing(predicted, id_columns[0]), standing(true, id_columns[1]), iou_min=iou_min)
    progress.advance()
    return found


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in folder.iterdir()
        if path.is_dir() and path.suffix.lower() != ".gdb" and not path.name.startswith(".")
    ]


def _by_number(name: str) -> list[str | int]:
    """Give a key that sorts the numbers in names by value."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"([0-9]+)", name))]


@contextmanager
def _written(
    table: Table | None, pairs: Sequence[Comparison], *others: Path | None
) -> Iterator[Callable[[list[Row]], object]]:
    """Lend what writes the table; it appears where the block ends well."""
    if table is None:
        yield lambda rows: rows
        return
    files = [file for pair in pairs for file in (pair.prediction, pair.truth)]
    check_distinct(table.path, *files, *[path for path in others if path is not None])
    with staged(table.path, overwrite=table.overwrite) as folder:
        whole = folder / table.path.name
        yield lambda rows: whole.write_text(to_csv(rows), encoding="utf-8")
