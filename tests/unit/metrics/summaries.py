"""A whole evaluation, made up: each score is another number, so that none can stand in for another."""

from dataclasses import replace

import numpy as np

from buildmap.metrics.average_precision import SIZES_M2, SIZES_PX, AveragePrecision, SizeScores
from buildmap.metrics.boundary import BoundaryScores
from buildmap.metrics.calibration import calibrate
from buildmap.metrics.cells import CellErrors
from buildmap.metrics.confusion import macro_scores, scores
from buildmap.metrics.histogram import Histogram
from buildmap.metrics.instances import Instances, InstanceScores, object_scores
from buildmap.metrics.outlines import OutlineScores, Spread
from buildmap.metrics.segmentation import Segmentation
from buildmap.metrics.similarity import Similarity
from buildmap.metrics.statistics import Interval, PairedTest
from buildmap.metrics.summary import (
    SCHEMA_VERSION,
    Alignment,
    EvaluateSummary,
    Group,
    GroupScores,
    PairSummary,
    Scores,
)
from buildmap.metrics.topology import Topology


def histogram(seed: int = 0, pixels: int = 4_000_000) -> Histogram:
    """Count pixels of a network that is rather sure, and right most of the time."""
    rng = np.random.default_rng(seed)
    values = np.arange(255) / 254
    empty = rng.dirichlet(400 * (0.9 * np.exp(-14 * values) + 0.012 * np.exp(-8 * (1 - values)) + 1e-4))
    built = rng.dirichlet(400 * (0.2 * np.exp(-9 * values) + 0.9 * np.exp(-11 * (1 - values)) + 1e-4))
    shares = np.stack([0.86 * empty, 0.14 * built])
    return Histogram(counts=np.rint(shares * pixels).astype(np.int64))


def make_scores(seed: int = 0) -> Scores:
    """Fill every field."""
    counts = histogram(seed)
    confusion = counts.confusion(127)
    steps = [
        Instances(tp=2731 - 190 * step - seed, fp=412 + 190 * step, fn=655 + 190 * step) for step in range(10)
    ]
    return Scores(
        confusion=confusion,
        pixels=scores(confusion),
        calibration=calibrate(counts),
        sweep=counts.sweep(),
        boundary=BoundaryScores(
            width_m=1.2, width_px=4, iou=0.6123, f1=0.7712, precision=0.7834, recall=0.7591
        ),
        similarity=Similarity(ssim=0.9241, pixels=3_900_000),
        instances=steps[0],
        objects=object_scores(steps),
        average_precision=AveragePrecision(
            ap=0.4321,
            ap50=0.7215,
            ap75=0.4567,
            ar=0.5132,
            by_size_px=tuple(
                _size(size.name, size.low, size.high, number) for number, size in enumerate(SIZES_PX)
            ),
            by_size_m2=tuple(
                _size(size.name, size.low, size.high, number) for number, size in enumerate(SIZES_M2)
            ),
        ),
        segmentation=Segmentation(merged=87, split=41, truths_merged=203, predictions_split=96),
        cells=CellErrors(
            cell_m=250.0,
            cells=144,
            count_mae=2.31,
            count_bias=-1.04,
            count_rmse=3.87,
            area_mae_m2=211.4,
            area_bias_m2=-35.2,
            area_rmse_m2=402.9,
        ),
        outlines=OutlineScores(
            pairs=2731,
            polis_m=Spread(mean=0.8312, median=0.6401, p90=1.7234),
            polis_published_m=Spread(mean=0.6911, median=0.5322, p90=1.4433),
            tangent_angle_deg=Spread(mean=24.31, median=19.82, p90=51.73),
            c_iou=0.6841,
            vertex_ratio=1.2718,
            corner_precision=0.5823,
            corner_recall=0.6634,
            corner_tolerance_m=1.0,
            area_error=Spread(mean=-0.0312, median=-0.0223, p90=0.1144),
            orientation_error_deg=Spread(mean=3.14, median=1.59, p90=8.26),
        ),
        topology=Topology(polygons=3143, invalid=3, self_intersections=2, overlaps=17, overlap_m2=48.6),
    )


def only_pixels() -> Scores:
    """Fill what is always there, and nothing else."""
    nothing = dict.fromkeys(set(Scores.__slots__) - {"confusion", "pixels"})
    return replace(make_scores(), **nothing)


def part_of(scores: Scores) -> GroupScores:
    """Keep what is measured of a group."""
    return GroupScores(
        confusion=scores.confusion, pixels=scores.pixels, instances=scores.instances, objects=scores.objects
    )


def only_buildings() -> GroupScores:
    """Score a class of buildings, which has no pixels of its own."""
    return replace(part_of(make_scores(5)), confusion=None, pixels=None)


def make_pair(name: str = "north.tif", *, of: Scores | None = None) -> PairSummary:
    """Compare a prediction with a truth of the same name."""
    return PairSummary(
        prediction=f"maps/{name}",
        truth=f"truth/{name}",
        gsd_m=0.3,
        crs="EPSG:32633",
        alignment=Alignment(same_grid=False, offset_px=(0.25, -0.5), gsd_ratio=1.6667),
        scores=of or make_scores(),
    )


def make_summary(*names: str, of: Scores | None = None) -> EvaluateSummary:
    """Evaluate some pairs; with `of`, all of them alike."""
    pairs = tuple(
        make_pair(name, of=of or make_scores(seed)) for seed, name in enumerate(names or ("north.tif",))
    )
    total = of or make_scores()
    confusions = [pair.scores.confusion for pair in pairs]
    return EvaluateSummary(
        schema_version=SCHEMA_VERSION,
        threshold=0.5,
        iou_min=0.5,
        empty_rule="epsilon",
        pairs=pairs,
        total=total,
        macro={rule: macro_scores(confusions, rule) for rule in ("epsilon", "one", "skip")},
        groups=(),
        intervals={},
        paired=None,
        other=None,
        buildings=3386,
        seconds=12.34,
    )


def full_summary() -> EvaluateSummary:
    """Evaluate three pairs with groups, intervals and another map."""
    groups = (
        Group(kind="gsd", name="0.20-0.40 m", pairs=2, scores=part_of(make_scores(3))),
        Group(kind="gsd", name="0.40-0.60 m", pairs=1, scores=part_of(make_scores(4))),
        Group(kind="region", name="Old town", pairs=3, scores=part_of(only_pixels())),
        Group(kind="size", name="house", pairs=3, scores=only_buildings()),
    )
    summary = make_summary("north.tif", "south.tif", "west.tif")
    total = summary.total
    assert total.objects is not None
    intervals = {
        "iou": around(total.pixels.iou),
        "f1": around(total.pixels.f1),
        "object_precision": around(total.objects.at_50.precision),
        "object_recall": around(total.objects.at_50.recall),
        "object_f1": around(total.objects.at_50.f1),
    }
    paired = {"iou": paired_test(0.0123), "object_f1": paired_test(-0.0045)}
    return replace(summary, groups=groups, intervals=intervals, paired=paired, other="maps_before")


def around(value: float) -> Interval:
    """Make an interval."""
    return Interval(low=value - 0.0111, high=value + 0.0088)


def paired_test(difference: float) -> PairedTest:
    """Make a test of 144 cells."""
    return PairedTest(
        units="cells",
        n=144,
        wins=91,
        losses=47,
        ties=6,
        mean_difference=difference,
        median_difference=difference / 2,
        low=difference - 0.0034,
        high=difference + 0.0031,
        statistic=3120.0,
        p_value=0.0006,
        p_greater=0.0123 if difference > 0 else 0.991,
        effect_size=0.3512 if difference > 0 else -0.2218,
    )


def undefined_scores() -> Scores:
    """Have buildings measured, and none there."""
    nan = float("nan")
    none = InstanceScores(precision=nan, recall=nan, f1=nan)
    full = make_scores()
    assert full.objects is not None
    return replace(full, objects=replace(full.objects, at_50=none, by_iou=()), average_precision=None)


def _size(name: str, low: float, high: float, number: int) -> SizeScores:
    return SizeScores(
        name=name,
        low=low,
        high=high,
        truths=1021 - 300 * number,
        ap=0.31 + 0.1 * number,
        ap50=0.55 + 0.09 * number,
        ar=0.42 + 0.08 * number,
    )
