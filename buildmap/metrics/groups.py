"""Scores of what has something in common: GSD, a column of the table of pairs, a region, a size."""

from collections.abc import Iterator, Sequence

from buildmap.metrics.counts import PairCounts, PartCounts, as_part, group_scores
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.regions import SIZE_CLASSES_M2, gsd_bins
from buildmap.metrics.summary import Group


def by_gsd(
    counts: Sequence[PairCounts], gsd_m: Sequence[float | None], evaluation: Evaluation
) -> list[Group]:
    """Group pairs of files by bins of GSD, the finest first (Sci-Net, Figure 5)."""
    known = [float("nan") if size is None else size for size in gsd_m]
    bins = gsd_bins(known)
    finest_first = sorted(range(len(bins)), key=lambda index: (known[index] != known[index], known[index]))
    parts = [(bins[index], as_part(counts[index])) for index in finest_first]
    return list(_gathered("gsd", parts, evaluation))


def by_column(
    counts: Sequence[PairCounts], columns: Sequence[dict[str, str]], name: str, evaluation: Evaluation
) -> list[Group]:
    """Group pairs of files by what their table says in a column, which all of them have."""
    parts = [(line[name], as_part(part)) for line, part in zip(columns, counts, strict=True)]
    return list(_gathered(name, parts, evaluation))


def by_region(counts: Sequence[PairCounts], evaluation: Evaluation) -> list[Group]:
    """Group the ground of all pairs by the names of regions."""
    parts = [(name, part) for pair in counts for name, part in pair.regions.items()]
    return list(_gathered("region", parts, evaluation))


def by_size(counts: PairCounts, evaluation: Evaluation) -> list[Group]:
    """Group the buildings of all pairs by size class."""
    if counts.objects is None:
        return []
    parts = [
        (name, PartCounts(histogram=None, over_iou=over_iou))
        for name, over_iou in zip(SIZE_CLASSES_M2, counts.objects.by_size, strict=True)
    ]
    return list(_gathered("size", parts, evaluation))


def _gathered(kind: str, parts: Sequence[tuple[str, PartCounts]], evaluation: Evaluation) -> Iterator[Group]:
    sums: dict[str, list[PartCounts]] = {}
    for name, part in parts:
        sums.setdefault(name, []).append(part)
    for name, together in sums.items():
        total = sum(together[1:], start=together[0])
        yield Group(kind=kind, name=name, pairs=len(together), scores=group_scores(total, evaluation))
