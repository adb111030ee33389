import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from buildmap.metrics.average_precision import (
    SIZES_M2,
    SIZES_PX,
    AveragePrecision,
    Ranked,
    RankedSide,
    SizeClass,
    SizeScores,
    average_precision,
    concatenate,
    rank,
)
from buildmap.metrics.instances import IOU_STEPS
from buildmap.vector.matching import Overlaps

BEYOND = -1.0
"""An area outside all of COCO's ranges: its code ignores such a building as ours does one off the ground."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    boxes: NDArray[np.int64]
    """(n, 4) left, bottom, width, height."""
    buildings: RankedSide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    predicted: Side
    true: Side
    scores: NDArray[np.float64]


def side(boxes: NDArray[np.int64], counted: NDArray[np.bool_] | None = None, m2: float = 0.25) -> Side:
    area = boxes[:, 2] * boxes[:, 3] * 1.0
    counted = np.ones(len(boxes), bool) if counted is None else counted
    return Side(boxes=boxes, buildings=RankedSide(counted=counted, area_px=area, area_m2=area * m2))


def random_image(rng: np.random.Generator, *, truths: int = 40, counted: float = 0.8) -> Image:
    """Draw crowded boxes of all sizes, predictions near them or anywhere, and scores with many ties."""
    low, size = rng.integers(0, 250, (truths, 2)), rng.integers(8, 60, (truths, 2))
    size[rng.random(truths) < 0.2] *= 3
    true = np.column_stack([low, size])
    copies = true[rng.integers(0, truths, 2 * truths)] + rng.integers(-6, 7, (2 * truths, 4))
    predicted = np.maximum(copies, [[-9, -9, 2, 2]])
    return Image(
        predicted=side(predicted, rng.random(len(predicted)) < counted),
        true=side(true, rng.random(truths) < counted),
        scores=rng.integers(1, 10, len(predicted)) / 10,
    )


def overlaps_of(left: NDArray[np.int64], right: NDArray[np.int64]) -> Overlaps:
    """Compare all boxes with all."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum((left[:, :2] + left[:, 2:])[:, None], (right[:, :2] + right[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=2) * 1.0
    rows, cols = np.nonzero(shared)
    return Overlaps(
        left=rows,
        right=cols,
        shared=shared[rows, cols],
        left_area=left[:, 2:].prod(axis=1) * 1.0,
        right_area=right[:, 2:].prod(axis=1) * 1.0,
    )


def ranked(image: Image, *, scored: bool = True) -> Ranked:
    return rank(
        overlaps_of(image.predicted.boxes, image.true.boxes),
        image.scores if scored else None,
        predictions=image.predicted.buildings,
        truths=image.true.buildings,
    )


def ours(images: list[Image], *, scored: bool = True) -> AveragePrecision:
    return average_precision(concatenate([ranked(image, scored=scored) for image in images]))


def annotations(sides: list[Side], scores: list[NDArray[np.float64]] | None, *, m2: bool, first: int) -> COCO:
    rows, number = [], first
    for image, one in enumerate(sides):
        areas = one.buildings.area_m2 if m2 else one.buildings.area_px
        for i, (box, area, counted) in enumerate(zip(one.boxes, areas, one.buildings.counted, strict=True)):
            row = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": box.tolist()}
            row["area"] = float(area) if counted else BEYOND
            rows.append(row if scores is None else {**row, "score": float(scores[image][i])})
            number += 1
    made = COCO()
    images = [{"id": image} for image in range(len(sides))]
    made.dataset = {"images": images, "annotations": rows, "categories": [{"id": 1}]}
    made.createIndex()
    return made


def published(
    images: list[Image], ranges: list[list[float]], *, m2: bool = False, limit: int = 100_000, first: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run pycocotools: precision (steps, 101, ranges), recall (steps, ranges); NaN for its -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        truths = annotations([image.true for image in images], None, m2=m2, first=first)
        found = annotations(
            [image.predicted for image in images], [image.scores for image in images], m2=m2, first=1
        )
        run = COCOeval(truths, found, "bbox")
        run.params.maxDets = [1, 10, limit]
        run.params.areaRng = ranges
        run.params.areaRngLbl = [str(limits) for limits in ranges]
        run.evaluate()
        run.accumulate()
    tables = run.eval["precision"][:, :, 0, :, 2], run.eval["recall"][:, 0, :, 2]
    return tuple(np.where(table < 0, np.nan, table) for table in tables)


def half_open(classes: tuple[SizeClass, ...]) -> list[list[float]]:
    """Give COCO's closed ranges that hold what our half-open ones do, after one that holds all."""
    limits = [[size.low, min(np.nextafter(size.high, 0), 1e10)] for size in classes]
    return [[0, 1e10], *limits]


def assert_agrees(images: list[Image], found: AveragePrecision) -> None:
    for m2, classes, by_size in [(False, SIZES_PX, found.by_size_px), (True, SIZES_M2, found.by_size_m2)]:
        precision, recall = published(images, half_open(classes), m2=m2)
        assert_close(found.ap, precision[:, :, 0].mean())
        assert_close(found.ap50, precision[0, :, 0].mean())
        assert_close(found.ap75, precision[5, :, 0].mean())
        assert_close(found.ar, recall[:, 0].mean())
        assert [scores.name for scores in by_size] == [size.name for size in classes]
        for i, scores in enumerate(by_size, start=1):
            assert_close(scores.ap, precision[:, :, i].mean())
            assert_close(scores.ap50, precision[0, :, i].mean())
            assert_close(scores.ar, recall[:, i].mean())


def assert_close(found: float, expected: float) -> None:
    assert found == pytest.approx(float(expected), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(12))
def test_scores_agree_with_pycocotools_over_several_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_image(rng, truths=int(rng.integers(5, 60))) for _ in range(int(rng.integers(1, 5)))]
    found = ours(images)
    assert 0 < found.ap < 1
    assert sum(scores.truths > 0 for scores in found.by_size_px + found.by_size_m2) >= 5
    assert_agrees(images, found)


@pytest.mark.parametrize("seed", range(4))
def test_without_scores_all_predictions_are_equal_and_come_in_the_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(2)]
    level = [dataclasses.replace(image, scores=np.ones(len(image.scores))) for image in images]
    found = ours(images, scored=False)
    assert found != ours(images)
    assert_agrees(level, found)


def test_images_without_predictions_or_truths_agree_with_pycocotools() -> None:
    rng = np.random.default_rng(0)
    full, none = random_image(rng), np.zeros((0, 4), np.int64)
    bare = dataclasses.replace(full, predicted=side(none), scores=np.zeros(0))
    wild = dataclasses.replace(full, true=side(none))
    for images in ([full, bare, wild], [bare], [wild]):
        assert_agrees(images, ours(images))


def test_a_class_without_true_buildings_has_no_score() -> None:
    nothing = ours([Image(predicted=side(boxes(1)), true=side(boxes(0)), scores=np.ones(1))])
    assert math.isnan(nothing.ap) and math.isnan(nothing.ar)
    assert [scores.truths for scores in nothing.by_size_px + nothing.by_size_m2] == [0] * 7
    assert all(math.isnan(scores.ap) for scores in nothing.by_size_m2)


def boxes(count: int, size: int = 10) -> NDArray[np.int64]:
    """Lay boxes of one size in a row, apart from each other."""
    return np.array([[i * 2 * size, 0, size, size] for i in range(count)], np.int64).reshape(-1, 4)


def test_a_case_worked_by_hand() -> None:
    """Of four buildings three are found, between the second and the third an invention."""
    predicted = np.concatenate([boxes(2), [[0, 500, 10, 10]], boxes(3)[2:]])
    found = ours(
        [Image(predicted=side(predicted), true=side(boxes(4)), scores=np.array([0.9, 0.8, 0.7, 0.6]))]
    )
    by_hand = (51 * 1 + 25 * 3 / 4) / 101  # recall 0..0.50 at precision 1, ..0.75 at 3/4, then nothing
    assert (found.ap, found.ap50, found.ap75) == pytest.approx((by_hand, by_hand, by_hand))
    assert found.ar == pytest.approx(3 / 4)


def test_the_higher_score_takes_the_building_though_another_fits_better() -> None:
    true, loose = [0, 0, 10, 10], [0, 0, 10, 6]
    image = Image(
        predicted=side(np.array([true, loose])), true=side(np.array([true])), scores=np.array([0.1, 0.9])
    )
    # up to 0.60 the loose one is right and comes first; above, it is wrong and halves the precision
    assert ours([image]).ap == pytest.approx((3 * 1 + 7 * 0.5) / 10)


def test_a_missing_score_comes_last() -> None:
    image = Image(
        predicted=side(np.concatenate([[[0, 500, 10, 10]], boxes(1)])),
        true=side(boxes(1)),
        scores=np.array([np.nan, 0.1]),
    )
    assert ours([image]).ap == 1


def test_buildings_off_the_ground_are_neither_missed_nor_held_against_a_prediction() -> None:
    off = np.array([True, False, False])
    alone = np.concatenate([boxes(2), [[0, 500, 10, 10]]])
    image = Image(predicted=side(alone, off), true=side(boxes(3), off), scores=np.array([0.5, 0.9, 0.9]))
    assert (ours([image]).ap, ours([image]).ar) == (1, 1)


def test_a_pair_on_the_rim_counts_where_its_true_building_does() -> None:
    flags = np.array([True, False])
    image = Image(predicted=side(boxes(2), ~flags), true=side(boxes(2), flags), scores=np.ones(2))
    only = ranked(image)
    assert only.truths[0] == 1
    assert only.right[0].tolist() == [2 ** len(IOU_STEPS) - 1, 0]
    assert only.wrong[0].tolist() == [0, 0]


def test_pairs_of_files_are_joined_in_their_order() -> None:
    rng = np.random.default_rng(3)
    one, two, three = (ranked(random_image(rng)) for _ in range(3))
    assert average_precision(one + two + three) == average_precision(concatenate([one, two, three]))
    assert average_precision(one + two).by_size_m2[1].truths == sum(
        average_precision(part).by_size_m2[1].truths for part in (one, two)
    )


def test_an_unknown_area_is_in_no_class_but_among_all() -> None:
    known = side(boxes(2))
    unknown = dataclasses.replace(known.buildings, area_m2=np.full(2, np.nan))
    image = Image(predicted=known, true=dataclasses.replace(known, buildings=unknown), scores=np.ones(2))
    found = ours([image])
    assert found.ap == 1
    assert [scores.truths for scores in found.by_size_px] == [2, 0, 0]
    assert [scores.truths for scores in found.by_size_m2] == [0, 0, 0, 0]


def test_a_building_on_a_limit_is_in_the_class_above() -> None:
    area_px = np.array([1, 1023, 1024, 9215, 9216, 9217.0])
    area_m2 = np.array([49.9, 50, 199.9, 200, 999.9, 1000])
    sized = RankedSide(counted=np.ones(6, bool), area_px=area_px, area_m2=area_m2)
    image = Image(predicted=side(boxes(6)), true=Side(boxes=boxes(6), buildings=sized), scores=np.ones(6))
    found = ours([image])
    assert [scores.truths for scores in found.by_size_px] == [2, 2, 2]
    assert [scores.truths for scores in found.by_size_m2] == [1, 2, 2, 1]


def test_the_published_code_counts_a_building_on_a_limit_twice_and_ours_once() -> None:
    exact = side(boxes(3, size=32))
    image = Image(predicted=exact, true=exact, scores=np.ones(3))
    _, closed = published([image], [[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
    np.testing.assert_array_equal(closed[0], [1, 1, 1, np.nan])
    found: tuple[SizeScores, ...] = ours([image]).by_size_px
    assert [scores.truths for scores in found] == [0, 3, 0]


def test_the_published_code_stops_after_a_hundred_detections_and_ours_does_not() -> None:
    many = side(boxes(150))
    image = Image(predicted=many, true=many, scores=np.ones(150))
    _, recall = published([image], [[0, 1e10]], limit=100)
    assert recall[0, 0] == pytest.approx(100 / 150)
    assert ours([image]).ar == 1


def test_the_published_code_takes_annotation_zero_for_no_match_and_ours_knows_no_such_number() -> None:
    image = Image(predicted=side(boxes(2)), true=side(boxes(2)), scores=np.ones(2))
    _, recall = published([image], [[0, 1e10]], first=0)
    assert recall[0, 0] == 0.5
    assert ours([image]).ar == 1


def test_lengths_that_disagree_are_refused() -> None:
    image = Image(predicted=side(boxes(2)), true=side(boxes(2)), scores=np.ones(3))
    with pytest.raises(ValueError, match=r"2 predictions .* are \(2, 2, 3\)"):
        ranked(image)
