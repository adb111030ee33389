import itertools
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from buildmap.changes.shifts import Points, ShiftBlocks, ShiftField, ShiftSurvey

ORIGIN = np.array([400_000.0, 5_000_000.0])
BLOCK = 200.0
Shift = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def way(dx: float, dy: float) -> NDArray[np.float64]:
    return np.array([dx, dy])


def houses(rng: np.random.Generator, count: int, *, cols: float = 3, rows: float = 3) -> Points:
    """Scatter houses over so many blocks."""
    xy = rng.uniform(0, 1, (count, 2)) * [cols * BLOCK, rows * BLOCK] + ORIGIN
    return Points(xy, rng.uniform(40, 400, count))


def later(
    before: Points,
    shift: Shift,
    rng: np.random.Generator,
    *,
    gone: float = 0.0,
    new: int = 0,
    jitter: float = 0.3,
) -> Points:
    """Survey houses again: some are gone, some are new, all lie off by the shift and a jitter."""
    kept = rng.random(len(before.area)) >= gone
    low, high = before.xy.min(axis=0), before.xy.max(axis=0)
    built = rng.uniform(low, high, (new, 2))
    xy = np.concatenate([before.xy[kept], built])
    area = np.concatenate([before.area[kept] * rng.uniform(0.9, 1.1, kept.sum()), rng.uniform(40, 400, new)])
    return Points(xy + shift(xy) + rng.normal(0, jitter, xy.shape), area)


def steady(dx: float, dy: float) -> Shift:
    return lambda xy: np.broadcast_to(np.array([dx, dy]), xy.shape)


def survey(before: Points, after: Points, *, tolerance: float = 10.0, block: float = BLOCK) -> ShiftField:
    one = ShiftSurvey(block=block, tolerance=tolerance)
    one.push(before, after, below=-np.inf)
    return one.finish()


def nobody() -> Points:
    return Points(np.empty((0, 2)), np.empty(0))


def joined(parts: Sequence[Points]) -> Points:
    return Points(np.concatenate([part.xy for part in parts]), np.concatenate([part.area for part in parts]))


def terraces(cols: int, rows: int, *, spacing: float, per_row: int = 30) -> Points:
    """Line up like houses in rows, one row each 30 m."""
    x, y = np.meshgrid(np.arange(per_row) * spacing, np.arange(int(rows * BLOCK / 30)) * 30.0)
    xy = np.stack([x.ravel() + 10, y.ravel() + 10], axis=1) + ORIGIN + [cols * BLOCK, 0]
    return Points(xy, np.full(len(xy), 48.0))


def assert_same_field(one: ShiftField, other: ShiftField) -> None:
    for field in fields(ShiftBlocks):
        np.testing.assert_array_equal(getattr(one.blocks, field.name), getattr(other.blocks, field.name))
    assert one.overall == other.overall


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -1.5), (-6.0, 7.5)])
@pytest.mark.parametrize("seed", range(3))
def test_a_constant_shift_is_found_though_half_is_gone_and_half_is_new(
    shift: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    before = houses(rng, 1500)
    after = later(before, steady(*shift), rng, gone=0.5, new=750)
    field = survey(before, after)
    inside = field.blocks.source == "own"
    assert inside.sum() == 9
    found = np.stack([field.blocks.dx, field.blocks.dy], axis=1)[inside]
    np.testing.assert_allclose(found, np.tile(shift, (9, 1)), atol=0.2)
    np.testing.assert_allclose(field.overall, shift, atol=0.1)
    np.testing.assert_allclose(field.at(after.xy), np.tile(shift, (len(after.xy), 1)), atol=0.2)


def test_three_percent_of_noise_on_both_dates_leave_centimetres() -> None:
    rng = np.random.default_rng(1)
    before = houses(rng, 4000, cols=4, rows=4)
    after = later(before, steady(2, 0), rng, gone=0.03, new=120)
    errors = survey(before, after).at(before.xy) - [2, 0]
    assert np.abs(errors).max() < 0.15
    assert np.sqrt((errors**2).mean()) < 0.05


def test_each_block_has_its_own_shift() -> None:
    rng = np.random.default_rng(2)
    before = houses(rng, 3000)
    planted = rng.uniform(-5, 5, (3, 3, 2))

    def shift(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        col, row = np.clip((xy - ORIGIN) // BLOCK, 0, 2).astype(int).T
        return planted[col, row]

    field = survey(before, later(before, shift, rng, gone=0.1, new=300))
    centres = (field.blocks.box[:, :2] + field.blocks.box[:, 2:]) / 2
    own = field.blocks.source == "own"
    assert own.sum() == 9
    np.testing.assert_allclose(field.at(centres)[own], shift(centres)[own], atol=0.2)


def test_a_shift_that_turns_slowly_is_followed_between_the_centres() -> None:
    rng = np.random.default_rng(3)
    before = houses(rng, 20_000, cols=10, rows=10)

    def shift(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return 3 * np.stack([np.sin(xy[:, 1] / 700), np.cos(xy[:, 0] / 700)], axis=1)

    field = survey(before, later(before, shift, rng, gone=0.2))
    inner = ((before.xy > ORIGIN + BLOCK / 2) & (before.xy < ORIGIN + 9.5 * BLOCK)).all(axis=1)
    errors = np.linalg.norm(field.at(before.xy) - shift(before.xy), axis=1)
    assert np.quantile(errors[inner], 0.99) < 0.2
    assert np.median(errors) < 0.07


def table(columns: NDArray[np.int64], rows: NDArray[np.int64], shifts: NDArray[np.float64]) -> ShiftField:
    corner = np.stack([columns, rows], axis=1)
    count = len(corner)
    return ShiftField(
        blocks=ShiftBlocks(
            box=np.concatenate([corner, corner + 1], axis=1) * BLOCK,
            dx=shifts[:, 0],
            dy=shifts[:, 1],
            pairs=np.full(count, 20),
            spread=np.full(count, 0.3),
            source=np.full(count, "own"),
        ),
        block=BLOCK,
        overall=(9.0, 8.0),
    )


def test_it_is_bilinear_between_the_centres_as_scipy_says() -> None:
    rng = np.random.default_rng(4)
    rows, columns = (
        values.ravel() for values in np.meshgrid([3, 2, 1, 0, -1], [-2, -1, 0, 1], indexing="ij")
    )
    shifts = rng.normal(0, 3, (20, 2))
    field = table(columns, rows, shifts)
    axes = ((np.arange(-1, 4) + 0.5) * BLOCK, (np.arange(-2, 2) + 0.5) * BLOCK)
    oracle = RegularGridInterpolator(axes, shifts.reshape(5, 4, 2)[::-1])
    xy = rng.uniform([-300, -100], [300, 700], (500, 2))
    np.testing.assert_allclose(field.at(xy), oracle(xy[:, ::-1]), atol=1e-9)


def test_blocks_without_buildings_have_no_say_and_far_from_all_it_is_the_overall_shift() -> None:
    field = table(np.array([0]), np.array([0]), np.array([[2.0, 1.0]]))
    xy = np.array([[100.0, 100.0], [5.0, 195.0], [299.0, -99.0], [301.0, 0.0], [-5000.0, 0.0]])
    np.testing.assert_array_equal(field.at(xy), [[2, 1], [2, 1], [2, 1], [9, 8], [9, 8]])
    assert field.at(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("shift", [(0.0, 5.0), (0.0, -5.0), (5.0, 0.0), (-5.0, 0.0), (4.0, -4.0)])
@pytest.mark.parametrize("cut", [-12.0, -6.0, -3.0, 0.0, 3.0, 6.0, 12.0])
def test_a_building_at_the_border_of_a_block_is_found_on_the_other_side(
    shift: tuple[float, float], cut: float
) -> None:
    along, inside = np.linspace(10, BLOCK - 10, 8), np.ones(8)
    edges = [(along, inside), (along, BLOCK - inside), (inside, along), (BLOCK - inside, along)]
    edge = np.concatenate([np.stack(xy, axis=1) for xy in edges])
    before = joined(
        [
            Points(ORIGIN + way(col, row) * BLOCK + edge, np.full(32, 50.0 * (1 + (col + row) % 2)))
            for col in range(2)
            for row in range(2)
        ]
    )
    after = Points(before.xy + shift, before.area)
    one = ShiftSurvey(block=BLOCK, tolerance=10)
    middle = ORIGIN[1] + BLOCK + cut
    for low, high in ((middle, np.inf), (-np.inf, middle)):
        here = [(points.xy[:, 1] > low) & (points.xy[:, 1] <= high) for points in (before, after)]
        parts = [Points(p.xy[some], p.area[some]) for p, some in zip((before, after), here, strict=True)]
        one.push(*parts, below=low)
    blocks = one.finish().blocks
    own = blocks.source == "own"
    assert blocks.pairs[own].tolist() == [32] * 4
    np.testing.assert_allclose(blocks.dx[own], shift[0], atol=1e-6)
    np.testing.assert_allclose(blocks.dy[own], shift[1], atol=1e-6)


NEAR_BORDERS = [border + off for border in (0, 200, 400, 600) for off in (-12, -9, -4, 0, 4)]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.one_of(st.sampled_from(NEAR_BORDERS), st.floats(-50, 650)), max_size=12),
)
def test_any_strips_and_any_order_give_the_same_field(seed: int, cuts: list[float]) -> None:
    rng = np.random.default_rng(seed)
    before = houses(rng, 150)
    before.xy[:75] = np.round((before.xy[:75] - ORIGIN) / 100) * 100 + ORIGIN  # many on borders of blocks
    after = later(before, steady(3, -2), rng, gone=0.2, new=20)
    whole = survey(before, after)
    strips = ShiftSurvey(block=BLOCK, tolerance=10)
    tops = [np.inf, *sorted((ORIGIN[1] + cut for cut in cuts), reverse=True), -np.inf]
    for top, bottom in itertools.pairwise(tops):
        parts = []
        for points in (before, after):
            here = rng.permutation(np.flatnonzero((points.xy[:, 1] <= top) & (points.xy[:, 1] > bottom)))
            parts.append(Points(points.xy[here], points.area[here]))
        strips.push(*parts, below=bottom)
    assert_same_field(strips.finish(), whole)


def test_blocks_do_not_depend_on_the_extent() -> None:
    rng = np.random.default_rng(6)
    before = houses(rng, 3000, cols=6)
    after = later(before, steady(-3, 2), rng, gone=0.1)
    whole = survey(before, after).blocks
    part = survey(
        *(
            Points(p.xy[p.xy[:, 0] < ORIGIN[0] + 820], p.area[p.xy[:, 0] < ORIGIN[0] + 820])
            for p in (before, after)
        )
    ).blocks
    inner = {name: getattr(part, name)[part.box[:, 2] <= ORIGIN[0] + 600] for name in ("box", "dx", "pairs")}
    same = np.isin(whole.box[:, 0], inner["box"][:, 0])
    assert len(inner["dx"]) >= 9
    for name, values in inner.items():
        np.testing.assert_array_equal(getattr(whole, name)[same], values)


@pytest.mark.parametrize("seed", range(4))
def test_the_blocks_are_those_in_which_a_building_of_either_date_stands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dates = [
        Points(
            ORIGIN + rng.integers(-4, 4, (12, 2)) * BLOCK + rng.choice([-3, 3], (12, 2)), np.full(12, 80.0)
        )
        for _ in range(2)
    ]
    places = {tuple(place) for date in dates for place in (date.xy // BLOCK).astype(int).tolist()}
    boxes = survey(*dates).blocks.box
    expected = [[col, row] for col, row in sorted(places, key=lambda place: (-place[1], place[0]))]
    np.testing.assert_array_equal(boxes[:, :2], np.array(expected) * BLOCK)


@pytest.mark.parametrize("block", [200.1, 333.3, 656.1679790026246])
def test_a_building_on_the_corner_of_four_blocks_is_of_the_upper_right_one_to_the_last_bit(
    block: float,
) -> None:
    corner = np.repeat(np.arange(-60.0, 60.0) * block, 2).reshape(-1, 2)
    for xy, columns in ((corner, slice(0, 2)), (np.nextafter(corner, -np.inf), slice(2, 4))):
        boxes = survey(Points(xy, np.full(len(xy), 80.0)), nobody(), block=block).blocks.box
        np.testing.assert_array_equal(boxes[:, columns], corner[::-1])


def test_the_table_tells_which_blocks_there_are_how_many_pairs_they_have_and_how_far_these_spread() -> None:
    rng = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2) * 38.0 + 20
    before = Points(np.concatenate([grid, grid + way(BLOCK, -BLOCK)]) + ORIGIN, np.full(50, 80.0))
    offsets = rng.normal(0, 0.2, (50, 2))
    after = Points(before.xy + way(4, 1) + offsets, before.area)
    blocks = survey(before, after).blocks
    low = np.stack([ORIGIN, ORIGIN + way(BLOCK, -BLOCK)])
    np.testing.assert_array_equal(blocks.box, np.concatenate([low, low + BLOCK], axis=1))
    assert blocks.pairs.tolist() == [25, 25]
    assert blocks.source.tolist() == ["own", "own"]
    for number, some in enumerate((offsets[:25], offsets[25:])):
        middle = np.median(some, axis=0)
        np.testing.assert_allclose([blocks.dx[number], blocks.dy[number]], middle + way(4, 1), atol=1e-8)
        distance = np.median(np.linalg.norm(some - middle, axis=1))
        assert blocks.spread[number] == pytest.approx(distance, abs=1e-8)


@pytest.mark.parametrize("shift", [(2.0, 0.5), (-2.5, 0.0), (0.0, 0.0)])
def test_rows_of_like_houses_do_not_slip_by_a_house(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(8)
    before = terraces(0, 3, spacing=6.0)
    field = survey(before, later(before, steady(*shift), rng, gone=0.1, jitter=0.2))
    np.testing.assert_allclose(field.at(before.xy), np.tile(shift, (len(before.xy), 1)), atol=0.2)


def test_rows_take_the_shift_with_the_most_votes_though_one_a_house_further_is_shorter() -> None:
    rng = np.random.default_rng(9)
    before = terraces(0, 3, spacing=6.0, per_row=6)
    after = later(before, steady(4, 0), rng, gone=0.1, jitter=0.2)
    np.testing.assert_allclose(survey(before, after).at(before.xy)[:, 0], 4, atol=0.2)


def test_long_rows_whose_shift_is_doubtful_follow_their_neighbours() -> None:
    rng = np.random.default_rng(10)
    rows = terraces(1, 1, spacing=6.0)
    scattered = houses(rng, 1000, cols=3, rows=1)
    beside = np.abs(scattered.xy[:, 0] - ORIGIN[0] - 1.5 * BLOCK) > BLOCK / 2
    around = Points(scattered.xy[beside], scattered.area[beside])
    alone, both = (
        survey(before, later(before, steady(4, 0), np.random.default_rng(0), jitter=0.2)).blocks
        for before in (rows, joined([rows, around]))
    )
    middle = both.box[:, 0] == ORIGIN[0] + BLOCK
    assert alone.source[0] == "own" and alone.dx[0] == pytest.approx(-2, abs=0.2)
    assert both.source[middle][0] == "own" and both.dx[middle][0] == pytest.approx(4, abs=0.2)


def test_blocks_with_few_houses_take_the_shift_of_their_neighbours_and_lonely_ones_that_of_all() -> None:
    rng = np.random.default_rng(11)
    town = houses(rng, 300, cols=1, rows=1)
    beside = Points(houses(rng, 5, cols=1, rows=1).xy + way(-BLOCK, BLOCK), np.full(5, 90.0))
    lonely = Points(houses(rng, 5, cols=1, rows=1).xy - way(0, 2 * BLOCK), np.full(5, 90.0))
    before = joined([town, beside, lonely])
    after = Points(before.xy + way(1.5, -2.5), before.area)
    blocks = survey(before, after).blocks
    places = {tuple(((low - ORIGIN) // BLOCK).astype(int)): n for n, low in enumerate(blocks.box[:, :2])}
    sources = {place: blocks.source[number] for place, number in places.items()}
    assert sources[0, 0] == "own"
    assert sources[-1, 1] == "neighbours"
    assert sources[0, -2] == "all"
    assert blocks.pairs[places[-1, 1]] > blocks.pairs[places[0, 0]]
    np.testing.assert_allclose(blocks.dx, 1.5, atol=0.06)
    np.testing.assert_allclose(blocks.dy, -2.5, atol=0.06)


@pytest.mark.parametrize(("away", "source"), [(1, "neighbours"), (2, "all")])
@pytest.mark.parametrize("towards", [(0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_blocks_are_neighbours_only_if_they_touch(
    towards: tuple[float, float], away: int, source: str
) -> None:
    town = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2) * 38.0 + 20 + ORIGIN
    few = town[:5] + away * BLOCK * np.array(towards)
    before = Points(np.concatenate([town, few]), np.full(30, 80.0))
    blocks = survey(before, Points(before.xy + way(4, 1), before.area)).blocks
    assert dict(zip(blocks.pairs.tolist(), blocks.source.tolist(), strict=True)) == {25: "own", 30: source}


def test_few_houses_far_apart_are_enough_together() -> None:
    rng = np.random.default_rng(12)
    before = Points(ORIGIN + 3 * BLOCK * np.arange(20)[:, None] + way(40, 50), rng.uniform(50, 90, 20))
    field = survey(before, Points(before.xy + way(2.13, 3.27), before.area))
    assert set(field.blocks.source) == {"all"}
    assert set(field.blocks.pairs) == {20}
    np.testing.assert_allclose(field.at(before.xy), np.tile([2.13, 3.27], (20, 1)), atol=0.03)


@pytest.mark.parametrize(("agreeing", "source"), [(30, "all"), (20, "none")])
def test_all_together_need_a_share_of_the_houses_there_are(agreeing: int, source: str) -> None:
    before = Points(ORIGIN + 3 * BLOCK * np.arange(100)[:, None] + way(40, 50), np.full(100, 80.0))
    moved = np.where(np.arange(100)[:, None] < agreeing, way(2, 3), way(100, 100))
    field = survey(before, Points(before.xy + moved, before.area))
    assert set(field.blocks.source) == {source}
    assert np.abs(field.at(before.xy) - (way(2, 3) if source == "all" else 0)).max() < 0.03


def test_a_date_that_shows_few_of_the_houses_still_tells_the_shift() -> None:
    rng = np.random.default_rng(17)
    many = houses(rng, 200, cols=1, rows=1)
    few = Points(many.xy[:20], many.area[:20])
    for before, after in ((many, few), (few, many)):
        blocks = survey(before, Points(after.xy + way(3, -2), after.area)).blocks
        own = blocks.source == "own"
        assert own.sum() == 1
        np.testing.assert_allclose([blocks.dx[own][0], blocks.dy[own][0]], [3, -2], atol=0.01)


@pytest.mark.parametrize("count", [0, 500])
def test_where_one_date_has_nothing_there_is_no_shift(count: int) -> None:
    some = houses(np.random.default_rng(13), count)
    for before, after in ((some, nobody()), (nobody(), some)):
        field = survey(before, after)
        assert len(field.blocks) == (9 if count else 0)
        assert set(field.blocks.source) <= {"none"}
        assert not field.blocks.dx.any() and not field.blocks.pairs.any()
        assert np.isnan(field.blocks.spread).all()
        np.testing.assert_array_equal(field.at(some.xy), np.zeros((count, 2)))
        assert field.overall == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [(13.0, 0.0), (-20.0, 25.0)])
def test_a_shift_beyond_the_tolerance_is_none(seed: int, shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    before = houses(rng, 1500)
    field = survey(before, later(before, steady(*shift), rng, gone=0.1))
    assert set(field.blocks.source) == {"none"}
    np.testing.assert_array_equal(field.at(before.xy), np.zeros((1500, 2)))


def test_two_layers_with_nothing_in_common_have_no_shift() -> None:
    field = survey(houses(np.random.default_rng(0), 2000), houses(np.random.default_rng(1), 2000))
    assert set(field.blocks.source) == {"none"}


def test_feet_are_looked_at_like_metres() -> None:
    rng, foot = np.random.default_rng(14), 0.3048
    before = houses(rng, 900)
    after = later(before, steady(2, 1), rng, gone=0.1)
    metres = survey(before, after, tolerance=5).blocks
    feet = ShiftSurvey(block=BLOCK / foot, tolerance=5 / foot, unit_m=foot)
    feet.push(*(Points(p.xy / foot, p.area / foot**2) for p in (before, after)), below=-np.inf)
    blocks = feet.finish().blocks
    assert (blocks.source == "own").sum() == 9
    assert blocks.pairs.tolist() == metres.pairs.tolist()
    np.testing.assert_allclose(blocks.dx * foot, metres.dx, atol=1e-6)


def test_a_long_country_takes_no_more_memory_than_a_short_one() -> None:
    def peak(rows: int) -> int:
        rng = np.random.default_rng(15)
        one = ShiftSurvey(block=BLOCK, tolerance=10)
        tracemalloc.start()
        for row in range(rows, 0, -1):
            before = houses(rng, 1000, rows=1)
            before.xy[:, 1] += (row - 1) * BLOCK
            one.push(before, later(before, steady(1, 1), rng), below=ORIGIN[1] + (row - 1) * BLOCK + 5)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)  # imports
    assert peak(24) < 1.2 * peak(6)


def test_buildings_have_to_come_from_north_to_south() -> None:
    one = ShiftSurvey(block=BLOCK, tolerance=10)
    high = Points(np.array([[0.0, 50.0]]), np.ones(1))
    one.push(high, nobody(), below=40)
    with pytest.raises(ValueError, match="north to south"):
        one.push(nobody(), high, below=30)


@pytest.mark.parametrize(("block", "tolerance"), [(10.0, 10.0), (100.0, -1.0), (0.0, 0.0), (np.nan, 1.0)])
def test_blocks_have_to_be_larger_than_the_tolerance(block: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        ShiftSurvey(block=block, tolerance=tolerance)


def test_without_tolerance_nothing_is_shifted() -> None:
    rng = np.random.default_rng(16)
    before = houses(rng, 900)
    for shift in ((0.0, 0.0), (0.5, 0.5)):
        after = Points(before.xy + shift, before.area)
        assert not survey(before, after, tolerance=0).at(before.xy).any()
