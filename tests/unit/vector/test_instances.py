"""Objects of windows become one set of buildings, whatever the strips."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from buildmap.raster.windows import PlannedWindow, Window, WindowPlan
from buildmap.vector.instance_rules import Candidates, Merging, gather
from buildmap.vector.instances import Box, Merger, candidates_in, is_cut, is_owned
from buildmap.vector.keypoints.polygons import KeypointPolygons, outlines_alone
from tests.unit.vector.seen import Found, Saw, candidates_of, found_of, merge_all

RULES = Merging(margin_px=3, border_px=0)


def box_of(window: Window) -> Box:
    return (
        window.col_off,
        window.row_off,
        window.col_off + window.width,
        window.row_off + window.height,
    )


def objects(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([shapely.box(*box) for box in boxes], object)


def small_plan(rng: np.random.Generator) -> WindowPlan:
    width, height = rng.integers(20, 90, 2).tolist()
    return WindowPlan(
        width=width,
        height=height,
        core_width_px=int(rng.integers(8, 30)),
        core_height_px=int(rng.integers(8, 30)),
        halo_px=int(rng.integers(0, 10)),
    )


def shape_at(
    rng: np.random.Generator, left: float, top: float, width: float, height: float
) -> shapely.Polygon:
    """Draw a box, an L or a triangle with whole corners."""
    right, bottom = left + width, top + height
    kind = rng.integers(3)
    if kind == 0 or width < 2 or height < 2:
        return shapely.box(left, top, right, bottom)
    if kind == 1:
        return shapely.Polygon([(left, top), (right, top), (left, bottom)])
    return shapely.box(left, top, right, bottom).difference(shapely.box(left + 1, top + 1, right, bottom))


def random_sights(rng: np.random.Generator, plan: WindowPlan) -> list[list[Saw]]:
    """Let every row of windows see buildings, cut off at borders, shaken, and a few that are not there."""
    raster = shapely.box(0, 0, plan.width, plan.height)
    true = [
        shape_at(rng, *rng.integers(0, (plan.width, plan.height)).tolist(), *rng.integers(1, 40, 2).tolist())
        for _ in range(int(rng.integers(1, 12)))
    ]
    rows: list[list[Saw]] = [[] for _ in range(plan.rows)]
    for number, planned in enumerate(plan):
        read = shapely.box(*box_of(planned.read))
        seen = [shapely.transform(each, lambda xy: xy + rng.integers(-1, 2, 2)) for each in true]
        seen += [
            shape_at(
                rng, *rng.integers(0, (plan.width, plan.height)).tolist(), *rng.integers(1, 9, 2).tolist()
            )
            for _ in range(3)
        ]
        for each in seen:
            for part in shapely.get_parts(each.intersection(read).intersection(raster)):
                if part.geom_type == "Polygon" and part.area > 0:
                    rows[number // plan.columns].append(sight(rng, part, planned, plan))
    return rows


def sight(
    rng: np.random.Generator, polygon: shapely.Polygon, planned: PlannedWindow, plan: WindowPlan
) -> Saw:
    """Score a polygon coarsely, so that ties are frequent."""
    window = box_of(planned.read)
    column = np.array([polygon], object)
    cut = bool(is_cut(column, window, (plan.width, plan.height), 0.0)[0])
    return polygon, float(rng.choice([0.5, 0.7, 0.9])), int(rng.integers(1, 3)), window, cut


def merged_by_strips(
    rng: np.random.Generator, plan: WindowPlan, rows: list[list[Saw]], rules: Merging, rows_per_strip: int
) -> Candidates:
    merger, parts = Merger(rules), []
    for first in range(0, len(rows), rows_per_strip):
        seen = [each for row in rows[first : first + rows_per_strip] for each in row]
        mixed = [seen[index] for index in rng.permutation(len(seen))]
        _, after = first_rows(plan, first + rows_per_strip)
        parts.append(merger.push(candidates_of(mixed), after))
    return gather(*parts, merger.finish())


def first_rows(plan: WindowPlan, row: int) -> tuple[int, float]:
    """Give where the cores of a row of windows begin, and where these read."""
    if row >= plan.rows:
        return plan.height, np.inf
    core, _ = plan.span(row)
    return core, max(core - plan.halo_px, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25)
def test_strips_of_any_height_give_the_set_that_brute_force_gives(seed: int, rows_per_strip: int) -> None:
    rng = np.random.default_rng(seed)
    plan = small_plan(rng)
    rows = random_sights(rng, plan)
    rules = Merging(
        iou_min=float(rng.choice([0.4, 0.5, 0.75])),
        containment_min=float(rng.choice([0.5, 0.7, 1.0])),
        agreement_min=0.4,
        border_px=0,
    )
    found = merged_by_strips(rng, plan, rows, rules, rows_per_strip)
    assert sorted(found_of(found)) == merge_all([each for row in rows for each in row], rules)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_even_the_order_is_the_same_for_any_strips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = small_plan(rng)
    rows = random_sights(rng, plan)
    runs = [found_of(merged_by_strips(rng, plan, rows, RULES, height)) for height in (1, 2, 99)]
    assert runs[0] == runs[1] == runs[2]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_no_two_of_different_windows_are_left_that_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = small_plan(rng)
    found = merged_by_strips(rng, plan, random_sights(rng, plan), RULES, 1)
    for i, j in zip(*np.triu_indices(len(found), 1), strict=True):
        if (found.window[i] != found.window[j]).any():
            one, other = found.polygons[i], found.polygons[j]
            assert one.intersection(other).area < 0.5 * one.union(other).area


@given(st.integers(0, 2**32 - 1))
def test_every_centre_in_the_raster_has_exactly_one_owner(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = small_plan(rng)
    centre = rng.integers(0, 2 * np.array([plan.width, plan.height]), (60, 2)) / 2  # many on borders of cores
    polygons = np.asarray(shapely.box(*(centre - 0.5).T, *(centre + 0.5).T))
    owners = sum(is_owned(polygons, box_of(planned.core)).astype(int) for planned in plan)
    assert np.asarray(owners).tolist() == [1] * 60


def test_the_centre_is_the_middle_of_the_box_and_the_margin_widens_the_core() -> None:
    core = (10, 10, 20, 20)
    polygons = objects((6, 14, 14, 16), (5.9, 14, 14, 16), (18, 14, 22, 16), (14, 18, 16, 25.9))
    assert is_owned(polygons, core).tolist() == [True, False, False, False]
    assert is_owned(polygons, core, 2).tolist() == [True, True, True, True]
    triangle = np.array(
        [shapely.Polygon([(8, 12), (14, 12), (8, 18)])]
    )  # its centroid lies left of the middle
    assert is_owned(triangle, (11, 15, 20, 20)).tolist() == [True]


def test_the_border_of_a_window_cuts_but_that_of_the_raster_does_not() -> None:
    window, raster_px = (0, 30, 50, 100), (80, 100)
    polygons = objects((0, 40, 9, 60), (1, 31, 9, 60), (1, 32, 9, 60), (40, 40, 49, 60), (1, 80, 9, 100))
    assert is_cut(polygons, window, raster_px, 1.0).tolist() == [False, True, False, True, False]
    assert is_cut(polygons, window, raster_px, 0.5).tolist() == [False, False, False, False, False]


def test_a_window_gives_what_it_owns_with_all_that_is_known_of_it() -> None:
    polygons = objects((40, 40, 60, 60), (0, 0, 4, 4), (46, 46, 54, 80))
    drawn = KeypointPolygons(
        polygons=polygons,
        method=np.array(["along", "raw", "raw"], object),
        verdict=np.array(["kept", "few", "few"], object),
        iou_raw=np.array([0.8, 1.0, 1.0]),
    )
    found = candidates_in(
        drawn,
        np.array([0.9, 0.8, 0.7]),
        np.array([1, 2, 3]),
        window=(0, 0, 80, 80),
        core=(20, 20, 60, 65),
        raster_px=(500, 500),
        rules=Merging(margin_px=0),
    )
    assert found.score.tolist() == [0.9, 0.7]
    assert found.class_id.tolist() == [1, 3]
    assert (found.method.tolist(), found.iou_raw.tolist()) == (["along", "raw"], [0.8, 1.0])
    assert found.window.tolist() == [[0, 0, 80, 80]] * 2
    assert found.is_cut.tolist() == [False, True]
    assert shapely.equals(found.polygons, polygons[[0, 2]]).all()


def seen_by(plan: WindowPlan, building: shapely.Polygon, rules: Merging) -> list[Found]:
    """Show a building to all windows that see some of it, and merge what they saw."""
    merger, parts = Merger(rules), []
    for row in range(plan.rows):
        for planned in plan.strip(row)[0]:
            part = building.intersection(shapely.box(*box_of(planned.read)))
            if part.area > 0:
                seen = candidates_in(
                    outlines_alone(np.array([part], object)),
                    np.array([0.9]),
                    np.array([1]),
                    window=box_of(planned.read),
                    core=box_of(planned.core),
                    raster_px=(plan.width, plan.height),
                    rules=rules,
                )
                _, below = first_rows(plan, row)
                parts.append(merger.push(seen, below))
    return found_of(gather(*parts, merger.finish()))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_a_building_comes_out_once_and_whole_however_many_windows_cut_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = WindowPlan(width=200, height=170, core_width_px=40, core_height_px=30, halo_px=16)
    left, top = rng.integers(0, (190, 160)).tolist()
    right, bottom = min(left + int(rng.integers(2, 90)), 200), min(top + int(rng.integers(2, 90)), 170)
    building = shapely.box(left, top, right, bottom)
    found = seen_by(plan, building, Merging())
    assert [(shapely.from_wkb(outline).equals(building), score) for outline, score, *_ in found] == [
        (True, 0.9)
    ]


def test_a_building_that_two_windows_see_a_little_differently_is_lost_only_without_a_margin() -> None:
    windows = {(0, 0, 60, 50): ((0, 0, 50, 50), 1.0), (40, 0, 100, 50): ((50, 0, 100, 50), -1.0)}

    def count(rules: Merging) -> int:
        merger = Merger(rules)
        seen = [
            candidates_in(
                outlines_alone(objects((46 + shift, 10, 54 + shift, 20))),
                np.array([0.5]),
                np.array([1]),
                window=window,
                core=core,
                raster_px=(100, 50),
                rules=rules,
            )
            for window, (core, shift) in windows.items()
        ]
        return len(merger.push(gather(*seen), np.inf))

    assert count(Merging(margin_px=0)) == 0
    assert count(Merging(margin_px=2)) == 1


def test_memory_holds_only_what_can_still_meet_later_windows() -> None:
    rng = np.random.default_rng(1)
    plan = WindowPlan(width=120, height=6000, core_width_px=40, core_height_px=30, halo_px=10)
    merger, held, given_back = Merger(RULES), [], 0
    for row in range(plan.rows):
        seen = []
        for planned in plan.strip(row)[0]:
            read = box_of(planned.read)
            for left, top in rng.integers(read[:2], np.array(read[2:]) - 8, (12, 2)).tolist():
                seen.append((shapely.box(left, top, left + 8, top + 8), 0.5, 1, read, False))
        given_back += len(merger.push(candidates_of(seen), first_rows(plan, row + 1)[1]))
        held.append(len(merger))
    assert len(held) > 190 and held[-1] == 0
    assert max(held) < 100  # 36 come with a row
    assert given_back > 5_000


def test_what_comes_too_late_is_refused() -> None:
    merger = Merger(RULES)
    merger.push(candidates_of([]), 40)
    late = candidates_of([(shapely.box(0, 39, 5, 50), 0.5, 1, (0, 30, 50, 80), False)])
    with pytest.raises(ValueError, match=r"row 39.0 comes after row 40"):
        merger.push(late, 80)
    with pytest.raises(ValueError, match="row 30 comes after row 40"):
        merger.push(candidates_of([]), 30)


def test_nothing_merges_to_nothing() -> None:
    assert len(Merger(RULES).finish()) == 0
