from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import Polygon, box

from buildmap.execution.progress import Silent
from buildmap.metrics.average_precision import average_precision, concatenate
from buildmap.metrics.boundary import BoundaryCounts
from buildmap.metrics.confusion import Confusion, count, scores
from buildmap.metrics.counts import PairCounts, PartCounts, as_part, group_scores, scores_of, total
from buildmap.metrics.evaluation import Evaluation
from buildmap.metrics.histogram import Histogram
from buildmap.metrics.instances import Instances
from buildmap.metrics.scoring import score_pair
from buildmap.metrics.similarity import SimilaritySum
from buildmap.metrics.topology import Topology
from tests.scenes import UTM, blocks_mask, write_layer, write_raster

X, Y = 400_000, 5_000_000
BARE = PairCounts(
    histogram=Histogram(),
    boundary=None,
    boundary_px=2,
    similarity=None,
    objects=None,
    topology=None,
    regions={},
)


def histogram(tp: int = 0, fp: int = 0, fn: int = 0, tn: int = 0, *, value: int = 254) -> Histogram:
    counts = np.zeros((2, 255), np.int64)
    counts[:, value] = fp, tp
    counts[:, 0] += tn, fn
    return Histogram(counts=counts)


def steps(tp: int, fp: int, fn: int) -> tuple[Instances, ...]:
    """Count ten stricter and stricter matches: one pair less each time."""
    return tuple(Instances(tp=max(tp - n, 0), fp=fp + min(n, tp), fn=fn + min(n, tp)) for n in range(10))


def house(col: float, row: float, side: float = 10.0) -> Polygon:
    return box(X + col, Y - row - side, X + col + side, Y - row)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PairCounts], Evaluation]:
    """Count two pairs, a mask and a layer, with everything."""
    folder = tmp_path_factory.mktemp("counts")
    rng = np.random.default_rng(8)
    masks = [blocks_mask(rng, 60, 80) for _ in range(2)]
    areas = {"name": ["west", "east"], "geometry": [house(-5, -5, 20), box(X + 15, Y - 90, X + 90, Y)]}
    gpd.GeoDataFrame(areas, crs=UTM).to_file(folder / "regions.gpkg")
    evaluation = Evaluation(regions=(folder / "regions.gpkg", "name"), by_size=True, cell_m=10.0)
    truth = write_layer(folder / "t.gpkg", [house(0, 0), house(30, 0), house(60, 0, 20)])
    predicted = gpd.GeoDataFrame(
        {"score": [0.3, 0.9, 0.5]}, geometry=[house(1, 0), house(30, 2), house(60, 40, 12)], crs=UTM
    )
    predicted.to_file(folder / "p.gpkg")
    pairs = [
        tuple(write_raster(folder / f"{number}.tif", mask) for number, mask in enumerate(masks)),
        (folder / "p.gpkg", truth),
    ]
    found = [score_pair(*pair, evaluation, progress=Silent()).counts for pair in pairs]
    np.testing.assert_equal(
        found[0].histogram.confusion(127), count(masks[0] > 0, masks[1] > 0, np.ones((60, 80), bool))
    )
    return found, evaluation


def test_the_counts_of_pairs_add_up_field_by_field(two: tuple[list[PairCounts], Evaluation]) -> None:
    (one, other), _ = two
    both = total([one, other])
    np.testing.assert_array_equal(both.histogram.counts, one.histogram.counts + other.histogram.counts)
    assert one.boundary is not None and other.boundary is not None
    assert both.boundary == one.boundary + other.boundary != one.boundary
    assert one.similarity is not None and other.similarity is not None
    assert both.similarity == one.similarity + other.similarity
    assert one.objects is not None and other.objects is not None and both.objects is not None
    assert both.objects.over_iou[0] == one.objects.over_iou[0] + other.objects.over_iou[0]
    assert len(both.objects.ranked) == len(both.objects.outlines) == 2
    assert set(both.regions) == {"west", "east"}
    for name, part in both.regions.items():
        parts = one.regions[name], other.regions[name]
        assert part.histogram == parts[0].histogram + parts[1].histogram
        assert part.over_iou[0] == parts[0].over_iou[0] + parts[1].over_iou[0]


def test_of_one_pair_the_total_is_that_pair(two: tuple[list[PairCounts], Evaluation]) -> None:
    (one, _), _ = two
    assert total([one]) is one


def test_micro_scores_are_those_of_all_pixels_and_buildings_taken_together(
    two: tuple[list[PairCounts], Evaluation],
) -> None:
    found, evaluation = two
    made = scores_of(total(found), evaluation, sweep=True)
    confusion = sum((counts.histogram.confusion(127) for counts in found), start=Confusion())
    assert (made.confusion, made.pixels) == (confusion, scores(confusion, "epsilon"))
    parts = [counts.objects for counts in found]
    assert made.instances == parts[0].over_iou[0] + parts[1].over_iou[0]
    assert made.objects is not None and made.objects.at_50.f1 == made.objects.by_iou[0].f1
    tp, fp, fn = made.instances.tp, made.instances.fp, made.instances.fn
    assert made.objects.at_50.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-4)
    assert made.segmentation == parts[0].segmentation + parts[1].segmentation
    ranked = concatenate([*parts[0].ranked, *parts[1].ranked])
    assert repr(made.average_precision) == repr(average_precision(ranked))  # NaN is not equal to itself
    ious = np.concatenate([parts[0].outlines[0].iou, parts[1].outlines[0].iou])
    assert made.outlines is not None and made.outlines.pairs == len(ious) == tp > 1
    errors = np.concatenate([part.outlines[0].area_error for part in parts])
    assert made.outlines.area_error.mean == pytest.approx(errors.mean())
    assert made.outlines.corner_tolerance_m == 1.0
    assert made.cells is not None and made.cells.cell_m == 10.0
    assert made.cells.cells == sum(part.cells.cells for part in parts)
    ssim = sum(counts.similarity.total for counts in found), sum(c.similarity.pixels for c in found)
    assert made.similarity is not None and made.similarity.pixels == ssim[1]
    assert made.similarity.ssim == pytest.approx(ssim[0] / 2**40 / ssim[1])
    assert made.topology is not None and made.topology.polygons == 3


def test_what_was_not_counted_has_no_scores() -> None:
    made = scores_of(replace(BARE, histogram=histogram(1, 2, 3, 4)), Evaluation(), sweep=True)
    assert made.confusion == Confusion(tp=1, fp=2, fn=3, tn=4)
    missing = (
        "calibration sweep boundary similarity instances objects average_precision segmentation cells "
        "outlines topology"
    )
    assert [name for name in missing.split() if getattr(made, name) is not None] == []


def test_buildings_that_were_matched_for_their_outlines_only_have_no_other_lists(
    two: tuple[list[PairCounts], Evaluation],
) -> None:
    found, evaluation = two
    made = scores_of(found[1], replace(evaluation, measures=frozenset({"outlines"})), sweep=False)
    assert made.outlines is not None
    assert made.average_precision is made.segmentation is made.cells is None


def test_masks_have_no_calibration_and_no_sweep_but_probabilities_have() -> None:
    mask = replace(BARE, histogram=histogram(5, 1, 1, 5))
    made = scores_of(mask, Evaluation(), sweep=True)
    assert made.calibration is made.sweep is None
    unsure = replace(BARE, histogram=histogram(5, 1, 1, 5, value=200))
    made = scores_of(unsure, Evaluation(), sweep=True)
    assert made.sweep is not None and made.sweep.best_iou.threshold == pytest.approx(127 / 254)
    assert made.calibration is not None
    brier = (5 * (1 - 200 / 254) ** 2 + (200 / 254) ** 2 + 1) / 12
    assert made.calibration.brier == pytest.approx(brier)
    assert scores_of(unsure, Evaluation(), sweep=False).sweep is None


def test_the_threshold_and_the_rule_are_those_asked_for() -> None:
    counts = replace(BARE, histogram=histogram(5, 1, 1, 5, value=200))
    made = scores_of(counts, Evaluation(threshold=0.9, empty="one"), sweep=True)
    assert made.confusion == Confusion(fn=6, tn=6)
    assert made.pixels.precision == 1 and made.pixels.recall == 0
    assert made.sweep is not None and made.sweep.points[-1].precision == 1
    skipped = scores_of(counts, Evaluation(threshold=0.9, empty="skip"), sweep=True)
    assert np.isnan(skipped.pixels.precision)
    assert skipped.sweep is not None and np.isnan(skipped.sweep.points[-1].precision)
    part = group_scores(
        PartCounts(histogram=counts.histogram, over_iou=steps(0, 0, 2)), Evaluation(empty="skip")
    )
    assert part.confusion == Confusion(tp=5, fp=1, fn=1, tn=5)
    assert part.objects is not None and np.isnan(part.objects.at_50.precision)


def test_the_rims_of_several_pairs_are_as_wide_as_the_widest() -> None:
    one = replace(BARE, boundary=BoundaryCounts(shared=3, either=4), boundary_px=3)
    other = replace(BARE, boundary=BoundaryCounts(shared=1, either=4), boundary_px=2)
    for pairs in ([one, other], [other, one]):
        made = scores_of(total(pairs), Evaluation(boundary_m=0.9), sweep=False).boundary
        assert made is not None
        assert (made.width_px, made.width_m, made.iou) == (3, 0.9, 0.5)


def test_similarities_are_weighed_by_their_pixels() -> None:
    one = replace(BARE, similarity=SimilaritySum(total=3 * 2**40, pixels=3))
    other = replace(BARE, similarity=SimilaritySum(total=0, pixels=1))
    made = scores_of(total([one, other]), Evaluation(), sweep=False).similarity
    assert made is not None and (made.ssim, made.pixels) == (0.75, 4)


def test_faults_are_those_of_all_layers_and_rasters_have_none() -> None:
    faults = Topology(polygons=1, invalid=2, self_intersections=3, overlaps=4, overlap_m2=5.5)
    more = Topology(polygons=10, invalid=20, self_intersections=30, overlaps=40, overlap_m2=50.0)
    layers = [replace(BARE, topology=faults), BARE, replace(BARE, topology=more)]
    expected = Topology(polygons=11, invalid=22, self_intersections=33, overlaps=44, overlap_m2=55.5)
    assert total(layers).topology == total(layers[::-1]).topology == expected
    assert total([BARE, BARE]).topology is None


def test_regions_are_joined_by_name() -> None:
    part = PartCounts(histogram=histogram(tp=2), over_iou=steps(1, 0, 0))
    more = PartCounts(histogram=histogram(fp=3), over_iou=steps(0, 2, 0))
    both = total(
        [replace(BARE, regions={"a": part, "b": part}), replace(BARE, regions={"b": more, "c": more})]
    )
    assert list(both.regions) == ["a", "b", "c"]
    assert both.regions["a"] == part and both.regions["c"] == more
    assert both.regions["b"].histogram == histogram(tp=2, fp=3)
    assert both.regions["b"].over_iou == tuple(
        one + other for one, other in zip(steps(1, 0, 0), steps(0, 2, 0), strict=True)
    )


def test_parts_without_pixels_or_without_buildings_stay_without() -> None:
    pixels = PartCounts(histogram=histogram(tp=2, fn=2), over_iou=None)
    buildings = PartCounts(histogram=None, over_iou=steps(3, 1, 1))
    of_pixels, of_buildings = (group_scores(part + part, Evaluation()) for part in (pixels, buildings))
    assert of_pixels.confusion == Confusion(tp=4, fn=4) and of_pixels.pixels is not None
    assert of_pixels.pixels.iou == pytest.approx(0.5, abs=1e-4)
    assert of_pixels.instances is of_pixels.objects is None
    assert of_buildings.confusion is of_buildings.pixels is None
    assert of_buildings.instances == Instances(tp=6, fp=2, fn=2)
    assert of_buildings.objects is not None
    assert of_buildings.objects.at_50.f1 == pytest.approx(12 / 16, abs=1e-4)
    assert of_buildings.objects.by_iou[2].tp == 2


def test_a_group_of_whole_pairs_has_their_pixels_and_buildings(
    two: tuple[list[PairCounts], Evaluation],
) -> None:
    (one, _), _ = two
    assert one.objects is not None
    assert as_part(one) == PartCounts(histogram=one.histogram, over_iou=one.objects.over_iou)
    assert as_part(BARE) == PartCounts(histogram=BARE.histogram, over_iou=None)
