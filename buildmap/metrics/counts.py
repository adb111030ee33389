"""All that was counted on one pair of files, or on many: it adds up, and scores follow from the sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from buildmap.metrics.average_precision import average_precision, concatenate
from buildmap.metrics.boundary import BoundaryCounts, boundary_scores
from buildmap.metrics.calibration import calibrate
from buildmap.metrics.cells import cell_errors
from buildmap.metrics.confusion import scores
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.histogram import Histogram
from buildmap.metrics.instances import Instances, object_scores
from buildmap.metrics.objects import ObjectCounts, add_up
from buildmap.metrics.outlines import outline_scores
from buildmap.metrics.similarity import SimilaritySum, similarity
from buildmap.metrics.summary import GroupScores, Scores
from buildmap.metrics.topology import Topology
from buildmap.vector.outlining import lowest_value

T = TypeVar("T", Histogram, BoundaryCounts, SimilaritySum, ObjectCounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """What was counted on a part of the ground, or of the buildings."""

    histogram: Histogram | None
    """Pixels; None for a part of the buildings."""
    over_iou: tuple[Instances, ...] | None
    """Buildings, one for each of `IOU_STEPS`; None where they were not matched."""

    def __add__(self, other: "PartCounts") -> "PartCounts":
        return PartCounts(
            histogram=_sum(self.histogram, other.histogram),
            over_iou=_sum_steps(self.over_iou, other.over_iou),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """What was counted on one pair of files, or on several; None where it was not asked for."""

    histogram: Histogram
    """Pixels by value and truth."""
    boundary: BoundaryCounts | None
    """Pixels along outlines."""
    boundary_px: int
    """Width of the rims; of several pairs, the widest."""
    similarity: SimilaritySum | None
    """Structural similarity."""
    objects: ObjectCounts | None
    """Buildings."""
    topology: Topology | None
    """Faults of the predicted layer; None for rasters too."""
    regions: dict[str, PartCounts]
    """By name."""

    def __add__(self, other: "PairCounts") -> "PairCounts":
        regions = dict(self.regions)
        for name, counts in other.regions.items():
            regions[name] = regions[name] + counts if name in regions else counts
        return PairCounts(
            histogram=self.histogram + other.histogram,
            boundary=_sum(self.boundary, other.boundary),
            boundary_px=max(self.boundary_px, other.boundary_px),
            similarity=_sum(self.similarity, other.similarity),
            objects=_sum(self.objects, other.objects),
            topology=_sum_faults(self.topology, other.topology),
            regions=regions,
        )


def as_part(counts: PairCounts) -> PartCounts:
    """Give what a group has of whole pairs of files."""
    over_iou = None if counts.objects is None else counts.objects.over_iou
    return PartCounts(histogram=counts.histogram, over_iou=over_iou)


def total(counts: Sequence[PairCounts]) -> PairCounts:
    """Add up the counts of at least one pair of files."""
    return sum(counts[1:], start=counts[0])


def scores_of(counts: PairCounts, evaluation: Evaluation, *, sweep: bool) -> Scores:
    """Compute every score of some counts: micro scores, where they are a sum.

    Args:
        counts: Of one pair of files or of many.
        evaluation: Threshold, tolerances, and what nothing in nothing is worth.
        sweep: Score all thresholds too, where there are probabilities.
    """
    rule, objects = evaluation.empty, counts.objects
    confusion = counts.histogram.confusion(lowest_value(evaluation.threshold))
    knows_probability = not counts.histogram.is_binary
    listed = "objects" in evaluation.measures
    return Scores(
        confusion=confusion,
        pixels=scores(confusion, rule),
        calibration=calibrate(counts.histogram) if knows_probability else None,
        sweep=counts.histogram.sweep(rule) if knows_probability and sweep else None,
        boundary=None
        if counts.boundary is None
        else boundary_scores(counts.boundary, width_px=counts.boundary_px, width_m=evaluation.boundary_m),
        similarity=None if counts.similarity is None else similarity(counts.similarity),
        instances=None if objects is None else objects.over_iou[0],
        objects=None if objects is None else object_scores(objects.over_iou, rule),
        average_precision=average_precision(concatenate(objects.ranked)) if objects and listed else None,
        segmentation=objects.segmentation if objects and listed else None,
        cells=cell_errors(objects.cells, cell_m=evaluation.cell_m) if objects and listed else None,
        outlines=outline_scores(sum(objects.outlines[1:], start=objects.outlines[0]), evaluation.corner_m)
        if objects and objects.outlines
        else None,
        topology=counts.topology,
    )


def group_scores(counts: PartCounts, evaluation: Evaluation) -> GroupScores:
    """Compute what can be said of a part: scores of pixels and of buildings."""
    rule, histogram, over_iou = evaluation.empty, counts.histogram, counts.over_iou
    confusion = None if histogram is None else histogram.confusion(lowest_value(evaluation.threshold))
    return GroupScores(
        confusion=confusion,
        pixels=None if confusion is None else scores(confusion, rule),
        instances=None if over_iou is None else over_iou[0],
        objects=None if over_iou is None else object_scores(over_iou, rule),
    )


def _sum(one: T | None, other: T | None) -> T | None:
    return None if one is None or other is None else one + other


def _sum_steps(
    one: tuple[Instances, ...] | None, other: tuple[Instances, ...] | None
) -> tuple[Instances, ...] | None:
    return None if one is None or other is None else add_up(one, other)


def _sum_faults(one: Topology | None, other: Topology | None) -> Topology | None:
    """Add faults up; pairs whose prediction is a raster have none."""
    if one is None or other is None:
        return one or other
    return Topology(
        polygons=one.polygons + other.polygons,
        invalid=one.invalid + other.invalid,
        self_intersections=one.self_intersections + other.self_intersections,
        overlaps=one.overlaps + other.overlaps,
        overlap_m2=one.overlap_m2 + other.overlap_m2,
    )
