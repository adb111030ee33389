import heapq

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from buildmap.vector.tracing.flood import OPEN, OUTSIDE, flood, frame, plant, unframe

Picture = NDArray[np.uint8]


def blurred(rng: np.random.Generator, rows: int, cols: int, sigma: float) -> Picture:
    field = ndimage.gaussian_filter(rng.standard_normal((rows, cols)), sigma)
    return np.clip(127 + 80 * field / field.std(), 0, 254).astype(np.uint8)


def flooded(score: Picture, component: NDArray[np.bool_], seed_value: int, min_px: int) -> NDArray[np.int32]:
    labels, framed = frame(component, score)
    plant(labels, framed, score.shape[1] + 2, seed_value, min_px)
    flood(labels, framed, score.shape[1] + 2)
    return labels.reshape(score.shape[0] + 2, -1)[1:-1, 1:-1]


def flooded_by_heap(
    seeds: NDArray[np.int32], score: Picture, component: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Meyer's flooding, written out: the highest score first, then who came first."""
    labels = seeds.copy()
    heap = [
        (-int(score[row, col]), turn, row, col)
        for turn, (row, col) in enumerate(np.argwhere(labels).tolist())
    ]
    heapq.heapify(heap)
    turn = len(heap)
    while heap:
        _, _, row, col = heapq.heappop(heap)
        for r, c in ((row - 1, col), (row, col - 1), (row, col + 1), (row + 1, col)):
            if 0 <= r < labels.shape[0] and 0 <= c < labels.shape[1] and component[r, c] and not labels[r, c]:
                labels[r, c] = labels[row, col]
                heapq.heappush(heap, (-int(score[r, c]), turn, r, c))
                turn += 1
    return labels


def large_parts(mask: NDArray[np.bool_], min_px: int) -> NDArray[np.int32]:
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    number = np.where(sizes >= min_px, np.cumsum(sizes >= min_px), 0)
    return number[parts].astype(np.int32)


def test_seeds_are_the_large_parts_of_scipy_in_scan_order() -> None:
    rng = np.random.default_rng(1)
    most = 0
    for _ in range(60):
        score = blurred(rng, *rng.integers(2, 50, 2), sigma=rng.choice([0.5, 1.5]))
        component = rng.random(score.shape) < 0.95
        min_px = int(rng.integers(1, 12))
        labels, framed = frame(component, score)
        count = plant(labels, framed, score.shape[1] + 2, 170, min_px)
        expected = large_parts(component & (score >= 170), min_px)
        inner = labels.reshape(score.shape[0] + 2, -1)[1:-1, 1:-1]
        assert (np.maximum(inner, 0) == expected).all()
        assert ((inner == OUTSIDE) == ~component).all()
        assert count == expected.max(initial=0)
        most = max(most, count)
    assert most > 5


def test_the_flood_is_that_of_a_heap_with_ties_first_come_first_served() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        score = blurred(rng, *rng.integers(2, 45, 2), sigma=rng.choice([0.7, 2])) // 8 * 8
        component = score >= 64
        seeds = large_parts(component & (score >= 168), 2)
        expected = flooded_by_heap(seeds, score, component)
        labels = flooded(score, component, 168, 2)
        assert (labels == np.where(component, expected, OUTSIDE)).all()


def test_without_ties_the_labels_are_those_of_scikit_image() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        score = rng.permutation(255)[: 15 * 16].astype(np.uint8).reshape(15, 16)
        component = rng.random(score.shape) < 0.9
        seeds = large_parts(component & (score >= 220), 1)
        expected = watershed(254 - score.astype(np.int32), seeds, mask=component)
        labels = flooded(score, component, 220, 1)
        assert (np.maximum(labels, 0) == expected).all()


def test_a_higher_pixel_beyond_a_saddle_is_taken_before_the_rest_of_the_saddle() -> None:
    score = np.array([[250, 100, 200, 100, 100, 240]], np.uint8)
    labels = flooded(score, score > 0, 240, 1)
    assert labels.tolist() == [[1, 1, 1, 1, 2, 2]]


def test_what_no_seed_reaches_stays_open() -> None:
    score = np.array([[250, 100, 0, 100]], np.uint8)
    labels, framed = frame(score > 0, score)
    plant(labels, framed, 6, 240, 1)
    assert flood(labels, framed, 6) == 1
    assert labels.reshape(3, 6)[1, 1:-1].tolist() == [1, 1, OUTSIDE, OPEN]
    assert unframe(labels, 6).tolist() == [[1, 1, 0, 0]]
