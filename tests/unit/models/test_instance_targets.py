"""The truth inside regions, against loops over cells and against boxes moved by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from buildmap.models.instance_network import Objects
from buildmap.models.instance_targets import (
    Regions,
    heatmap_targets,
    mask_targets,
    match_regions,
    vertex_sigma,
)

sides = st.floats(1, 500)


def make_objects(boxes: list[list[float]], vertices: list[list[list[float]]], side: int = 64) -> Objects:
    masks = torch.zeros(len(boxes), side, side, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    return Objects(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        masks=masks,
        vertices=tuple(torch.tensor(some).reshape(-1, 2) for some in vertices),
    )


def regions_of(boxes: list[list[float]], matched: list[int]) -> Regions:
    return Regions(boxes=torch.tensor(boxes).reshape(-1, 4), matched=torch.tensor(matched, dtype=torch.int64))


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


@given(sides, sides)
def test_a_radius_of_three_deviations_leaves_the_iou_at_seven_tenths(width: float, height: float) -> None:
    r = 3 * vertex_sigma(torch.tensor([[width, height]], dtype=torch.float64)).item()
    true = (0.0, 0.0, width, height)
    moved = [
        (r, r, width + r, height + r),
        (r, r, width - r, height - r),
        (-r, -r, width + r, height + r),
    ]
    assert min(iou(true, box) for box in moved) == pytest.approx(0.7, abs=1e-6)


def draw_slowly(regions: Regions, objects: Objects, side: int) -> np.ndarray:
    heat = np.zeros((len(regions.boxes), side, side))
    for number, (box, matched) in enumerate(zip(regions.boxes.double(), regions.matched, strict=True)):
        left, top, right, bottom = box.tolist()
        own = objects.boxes[matched].double().numpy()
        size = [[(own[2] - own[0]) * side / (right - left), (own[3] - own[1]) * side / (bottom - top)]]
        sigma = vertex_sigma(torch.tensor(size)).item()
        for x, y in objects.vertices[int(matched)].tolist():
            if not (left <= x <= right and top <= y <= bottom):
                continue
            u, v = (x - left) * side / (right - left), (y - top) * side / (bottom - top)
            for row in range(side):
                for col in range(side):
                    bump = np.exp(-((col + 0.5 - u) ** 2 + (row + 0.5 - v) ** 2) / (2 * sigma**2))
                    heat[number, row, col] = max(heat[number, row, col], bump)
            heat[number, min(int(v), side - 1), min(int(u), side - 1)] = 1
    return heat


def test_heat_maps_are_the_largest_gaussian_in_every_cell() -> None:
    objects = make_objects(
        [[8.0, 8.0, 40.0, 30.0], [20.0, 40.0, 50.0, 60.0]],
        [
            [[8.0, 8.0], [40.0, 8.0], [40.0, 30.0], [25.5, 29.0], [8.0, 30.0]],
            [[20.0, 41.0], [50.0, 40.0], [35.3, 60.0]],
        ],
    )
    regions = regions_of(
        [[8.0, 8.0, 40.0, 30.0], [10.0, 5.0, 45.0, 33.0], [18.0, 38.0, 51.0, 62.5], [8.0, 9.0, 30.0, 30.0]],
        [0, 0, 1, 0],
    )
    heat = heatmap_targets(regions, objects, 12)
    np.testing.assert_allclose(heat.numpy(), draw_slowly(regions, objects, 12), atol=1e-5)
    assert [int((one == 1).sum()) for one in heat] == [5, 3, 3, 2]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0, 32), st.floats(0, 24)), min_size=1, max_size=40),
    st.sampled_from([4, 9, 28]),
)
def test_many_vertices_are_drawn_like_few(points: list[tuple[float, float]], side: int) -> None:
    objects = make_objects([[0.0, 0.0, 32.0, 24.0]], [[list(point) for point in points]])
    regions = regions_of([[0.0, 0.0, 32.0, 24.0]], [0])
    alone = [
        heatmap_targets(regions, make_objects([[0.0, 0.0, 32.0, 24.0]], [[list(point)]]), side)
        for point in points
    ]
    assert torch.equal(heatmap_targets(regions, objects, side), torch.stack(alone).amax(dim=0))
    assert all(one.max() == 1 for one in alone)


def test_vertices_on_the_border_of_a_region_are_drawn_and_those_beyond_are_not() -> None:
    objects = make_objects(
        [[10.0, 10.0, 20.0, 20.0]], [[[10.0, 10.0], [20.0, 20.0], [20.5, 15.0], [15.0, 9.5]]]
    )
    heat = heatmap_targets(regions_of([[10.0, 10.0, 20.0, 20.0]], [0]), objects, 10)
    assert heat[0].eq(1).nonzero().tolist() == [[0, 0], [9, 9]]


@pytest.mark.parametrize("vertices", [[], [[]]])
def test_without_regions_or_vertices_heat_maps_are_zero(vertices: list[list[list[float]]]) -> None:
    boxes = [[1.0, 1.0, 5.0, 5.0]] * len(vertices)
    objects = make_objects(boxes, vertices)
    heat = heatmap_targets(regions_of(boxes, [0] * len(boxes)), objects, 4)
    assert heat.shape == (len(boxes), 4, 4)
    assert not heat.any()


def test_a_region_as_large_as_its_map_has_the_masks_own_pixels() -> None:
    torch.manual_seed(0)
    masks = torch.rand(2, 40, 40) > 0.5
    objects = Objects(boxes=torch.rand(2, 4), masks=masks, vertices=(torch.zeros(0, 2),) * 2)
    found = mask_targets(regions_of([[4.0, 7.0, 20.0, 23.0], [0.0, 24.0, 16.0, 40.0]], [1, 0]), objects, 16)
    assert torch.equal(found, torch.stack([masks[1, 7:23, 4:20], masks[0, 24:40, 0:16]]).float())


def test_the_middle_of_a_mask_s_border_is_where_it_is() -> None:
    """A cell cut in half by a building's side has half a building, in the coarse and in the fine."""
    objects = make_objects([[16.0, 16.0, 31.0, 32.0]], [[[16.0, 16.0]]])
    coarse = mask_targets(regions_of([[8.0, 8.0, 40.0, 40.0]], [0]), objects, 16)[0]
    assert coarse[8].tolist() == [0.0] * 4 + [1.0] * 7 + [0.5] + [0.0] * 4
    fine = mask_targets(regions_of([[28.0, 20.0, 34.0, 26.0]], [0]), objects, 24)[0]
    crossing = (fine[12] >= 0.5).sum().item() / 4
    assert crossing == 3.0


def boxes_from(*corners: tuple[float, float]) -> Tensor:
    return torch.tensor([[x, y, x + 10, y + 10] for x, y in corners])


def test_regions_are_the_buildings_and_the_boxes_that_hold_one() -> None:
    objects = make_objects([[0.0, 0.0, 10.0, 10.0], [30.0, 30.0, 40.0, 40.0]], [[[0.0, 0.0]], [[30.0, 30.0]]])
    proposed = boxes_from((31, 31), (10, 0), (2, 1), (50, 50))
    found = match_regions(proposed, objects, iou_min=0.5, most=10)
    assert torch.equal(found.boxes, torch.cat([objects.boxes, proposed[[0, 2]]]))
    assert found.matched.tolist() == [0, 1, 1, 0]
    fewer = match_regions(proposed, objects, iou_min=0.5, most=3)
    assert torch.equal(fewer.boxes, found.boxes[:3])


def test_an_image_without_a_building_has_no_region() -> None:
    found = match_regions(boxes_from((1, 1)), make_objects([], []), iou_min=0.5, most=10)
    assert found.boxes.shape == (0, 4)
    assert found.matched.shape == (0,)
