import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import box

from buildmap.metrics.segmentation import Segmentation, count_segmentation, merged_and_split
from buildmap.vector.matching import Overlaps


def array(*polygons: shapely.Polygon) -> NDArray[np.object_]:
    return np.array(polygons, dtype=object)


def lattice_boxes(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Draw boxes on a coarse lattice, so that exactly half of one often lies in another."""
    low, size = rng.integers(0, 16, (count, 2)), rng.integers(1, 7, (count, 2))
    return np.asarray(shapely.box(low[:, 0], low[:, 1], *(low + size).T), dtype=object)


def overlaps_of(left: NDArray[np.object_], right: NDArray[np.object_]) -> Overlaps:
    """Compare all with all."""
    shared = shapely.area(shapely.intersection(left[:, None], right[None]))
    rows, cols = np.nonzero(shared)
    return Overlaps(
        left=rows,
        right=cols,
        shared=shared[rows, cols],
        left_area=shapely.area(left),
        right_area=shapely.area(right),
    )


def held_by(holders: NDArray[np.object_], others: NDArray[np.object_], share: float) -> dict[int, list[int]]:
    """Name, for each footprint that holds two or more, whom it holds."""
    lists = {
        i: [j for j, other in enumerate(others) if holder.intersection(other).area >= share * other.area]
        for i, holder in enumerate(holders)
    }
    return {i: held for i, held in lists.items() if len(held) >= 2}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_counts_agree_with_comparing_all_with_all(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    predictions, truths = lattice_boxes(rng, 90), lattice_boxes(rng, 80)
    counted = rng.random(80) < 0.4
    overlaps = overlaps_of(predictions, truths)
    merging, splitting = held_by(predictions, truths, share), held_by(truths, predictions, share)
    merged = [i for i, held in merging.items() if counted[held].any()]
    split = [j for j in splitting if counted[j]]
    assert merged and split and len(merged + split) < len(merging) + len(splitting)
    assert count_segmentation(overlaps, truth_counted=counted, share=share) == Segmentation(
        merged=len(merged),
        split=len(split),
        truths_merged=len({j for i in merged for j in merging[i] if counted[j]}),
        predictions_split=len({i for j in split for i in splitting[j]}),
    )
    names = merged_and_split(overlaps, truth_counted=counted, share=share)
    assert [indices.tolist() for indices in names] == [merged, split]


def test_a_case_worked_by_hand() -> None:
    row = box(0, 0, 30, 10)  # covers the three houses of a row, the last of them by a half
    houses = [box(0, 0, 10, 10), box(11, 0, 21, 10), box(25, 0, 35, 10)]
    hall = box(100, 0, 130, 10)
    pieces = [box(100, 0, 110, 10), box(112, 0, 129, 10)]
    overlaps = overlaps_of(array(row, *pieces), array(*houses, hall))
    found = count_segmentation(overlaps, truth_counted=np.ones(4, bool))
    assert found == Segmentation(merged=1, split=1, truths_merged=3, predictions_split=2)


def test_a_little_less_than_the_share_is_not_held() -> None:
    predictions, truths = array(box(0, 0, 20, 10)), array(box(0, 0, 10, 10), box(15.1, 0, 25.1, 10))
    overlaps = overlaps_of(predictions, truths)
    counted = np.ones(2, bool)
    assert count_segmentation(overlaps, truth_counted=counted) == Segmentation()
    assert count_segmentation(overlaps, truth_counted=counted, share=0.48).truths_merged == 2


def test_the_noise_of_areas_does_not_decide_on_exactly_the_share() -> None:
    overlaps = Overlaps(
        left=np.array([0, 0]),
        right=np.array([0, 1]),
        shared=np.array([0.1 + 0.2, 0.3]) / 2 - 1e-16,
        left_area=np.array([1.0]),
        right_area=np.array([0.3, 0.3]),
    )
    assert count_segmentation(overlaps, truth_counted=np.ones(2, bool)).merged == 1


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_the_sides_exchanges_merged_and_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = lattice_boxes(rng, 50), lattice_boxes(rng, 70)
    there = count_segmentation(overlaps_of(one, other), truth_counted=np.ones(70, bool))
    back = count_segmentation(overlaps_of(other, one), truth_counted=np.ones(50, bool))
    assert there == Segmentation(
        merged=back.split,
        split=back.merged,
        truths_merged=back.predictions_split,
        predictions_split=back.truths_merged,
    )
    assert there.merged > 0 and there.split > 0


def test_a_map_equal_to_the_truth_has_none() -> None:
    same = array(*[box(col, row, col + 1, row + 1) for col in range(5) for row in range(5)])
    assert count_segmentation(overlaps_of(same, same), truth_counted=np.ones(25, bool)) == Segmentation()


def test_a_merge_across_the_rim_counts_once_and_only_the_building_inside() -> None:
    overlaps = overlaps_of(array(box(0, 0, 30, 10)), array(box(0, 0, 10, 10), box(20, 0, 30, 10)))
    found = count_segmentation(overlaps, truth_counted=np.array([True, False]))
    assert found == Segmentation(merged=1, truths_merged=1)
    assert count_segmentation(overlaps, truth_counted=np.zeros(2, bool)) == Segmentation()


def test_counts_add_up() -> None:
    one = Segmentation(merged=1, split=2, truths_merged=3, predictions_split=4)
    other = Segmentation(merged=10, split=20, truths_merged=30, predictions_split=40)
    assert one + other == Segmentation(merged=11, split=22, truths_merged=33, predictions_split=44)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_share_is_refused(share: float) -> None:
    same = array(box(0, 0, 1, 1))
    with pytest.raises(ValueError, match="share is"):
        count_segmentation(overlaps_of(same, same), truth_counted=np.ones(1, bool), share=share)
