from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from buildmap.changes.buildings import buildings_of
from buildmap.changes.columns import NO_ROW, ChangeBatch
from buildmap.changes.evidence import Everywhere
from buildmap.changes.history import Confirming
from buildmap.changes.inventory import name_buildings
from buildmap.changes.links import Linked
from buildmap.changes.rows import Telling, tell
from buildmap.changes.verdicts import Judging, judge
from buildmap.vector.matching import find_overlaps

UTM = CRS.from_epsg(32633)
EAST, NORTH = 500_000.0, 5_000_000.0
HOUSE = (0.0, 0.0, 10.0, 10.0)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Partly:
    seen: float

    def share(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        return np.full(len(polygons), self.seen)

    def close(self) -> None:
        pass


NOWHERE = Partly(0.0)
PLAIN = Telling(
    crs=UTM,
    confirming=Confirming(),
    evidence_before=Everywhere(),
    evidence_after=Everywhere(),
    date_before="2024",
    date_after="2025",
)


def outline(box: Box) -> shapely.Polygon:
    left, bottom, right, top = box
    return shapely.box(EAST + left, NORTH + bottom, EAST + right, NORTH + top)


def told(
    before: list[Box], after: list[Box], telling: Telling = PLAIN, *, step: int = 1, **known: list[Any]
) -> ChangeBatch:
    """Tell of buildings that are linked in their order, or in the opposite where the step is -1."""
    columns = {name: np.array([*values, None], np.object_)[:-1][::step] for name, values in known.items()}
    shift = {"dx": np.full(len(after), 3.0), "dy": np.full(len(after), 4.0)}
    sides = [
        buildings_of(
            np.array([outline(box) for box in boxes], np.object_)[::step],
            (np.arange(len(boxes)) + first)[::step],
            values,
        )
        for boxes, first, values in ((before, 10, columns), (after, 20, shift))
    ]
    linked = Linked(before=sides[0], after=sides[1], overlaps=find_overlaps(sides[0].store, sides[1].store))
    return tell(linked, judge(linked.overlaps, Judging()), telling)


def test_a_building_as_it_was_keeps_its_outline_and_has_a_new_date() -> None:
    rows = told([HOUSE], [(0.5, 0, 10.5, 10)])
    assert rows.status.tolist() == ["unchanged"] and rows.kind.tolist() == [None]
    assert rows.polygons[0].equals(outline(HOUSE))
    assert (rows.first_seen[0], rows.last_seen[0], rows.history[0]) == ("2024", "2025", "1")
    assert rows.iou == pytest.approx([95 / 105])
    assert rows.area_before_m2 == pytest.approx(rows.area_after_m2)
    # on the ground, not in the projection, which makes all shorter on its central meridian
    assert rows.area_before_m2 == pytest.approx([100 / 0.9996**2], rel=1e-5)
    assert rows.shift_m == pytest.approx([5 / 0.9996], rel=1e-5)
    assert (rows.dx[0], rows.dy[0]) == (3, 4)
    assert rows.before[0].equals(outline(HOUSE)) and rows.after[0].equals(outline((0.5, 0, 10.5, 10)))
    assert (rows.row_before[0], rows.row_after[0]) == (10, 20)
    assert np.isnan(rows.evidence[0])


def test_an_enlarged_one_takes_the_new_outline_and_keeps_its_id() -> None:
    rows = told([HOUSE], [(0, 0, 15, 10)], building_id=["A7"])
    assert (rows.status[0], rows.kind[0], rows.building_id[0]) == ("changed", "enlarged", "A7")
    assert rows.previous_ids.tolist() == [None]
    assert rows.polygons[0].equals(outline((0, 0, 15, 10)))
    assert rows.area_after_m2 / rows.area_before_m2 == pytest.approx([1.5])


def test_what_is_gone_and_what_is_new() -> None:
    rows = told([HOUSE], [(30, 0, 40, 10)], building_id=["A7"])
    assert dict(zip(rows.status, zip(rows.row_before, rows.row_after, strict=True), strict=True)) == {
        "removed": (10, NO_ROW),
        "added": (NO_ROW, 20),
    }
    gone, new = (rows.take(np.flatnonzero(rows.status == status)) for status in ("removed", "added"))
    assert gone.building_id[0] == "A7" and (gone.first_seen[0], gone.last_seen[0]) == ("2024", "2024")
    assert np.isnan(gone.area_after_m2[0]) and np.isnan(gone.iou[0]) and np.isnan(gone.shift_m[0])
    assert gone.evidence[0] == new.evidence[0] == 1
    assert new.building_id.tolist() == name_buildings(new.polygons).tolist()
    assert (new.first_seen[0], new.last_seen[0]) == ("2025", "2025") and np.isnan(new.area_before_m2[0])


def test_nothing_is_gone_or_new_where_the_other_date_had_no_data() -> None:
    blind = replace(PLAIN, evidence_before=NOWHERE, evidence_after=NOWHERE)
    rows = told([HOUSE], [(30, 0, 40, 10)], blind)
    assert rows.status.tolist() == ["unobserved"] * 2
    assert rows.evidence.tolist() == [0, 0]
    kept = rows.take(np.flatnonzero(rows.row_before == 10))
    assert kept.last_seen[0] == "2024" and kept.history[0] == "1"


@pytest.mark.parametrize(
    ("seen_before", "seen_after", "gone", "new"),
    [(0.49, 0.5, "removed", "unobserved"), (0.5, 0.49, "unobserved", "added")],
)
def test_a_date_has_looked_where_it_had_data_on_half_of_the_ground(
    seen_before: float, seen_after: float, gone: str, new: str
) -> None:
    telling = replace(PLAIN, evidence_before=Partly(seen_before), evidence_after=Partly(seen_after))
    rows = told([HOUSE], [(30, 0, 40, 10)], telling)
    found = zip(rows.row_before.tolist(), rows.status, rows.evidence.tolist(), strict=True)
    assert sorted(found) == [(NO_ROW, new, seen_before), (10, gone, seen_after)]


def test_of_a_split_building_the_largest_part_keeps_the_id() -> None:
    rows = told([HOUSE], [(0, 0, 4, 10), (4, 0, 10, 10)], building_id=["A7"])
    assert rows.status.tolist() == ["changed"] * 2 and rows.kind.tolist() == ["split"] * 2
    assert rows.previous_ids.tolist() == ["A7", "A7"]
    assert [one == "A7" for one in rows.building_id] == [False, True]
    assert rows.area_after_m2 / rows.area_before_m2 == pytest.approx([0.4, 0.6])
    assert rows.first_seen.tolist() == ["2025", "2024"]


def test_a_merged_building_keeps_the_id_of_the_largest_and_names_all() -> None:
    rows = told([(0, 0, 4, 10), (4, 0, 10, 10)], [HOUSE], building_id=["A7", "B8"])
    assert (rows.status.tolist(), rows.kind.tolist()) == (["changed"], ["merged"])
    assert (rows.building_id[0], rows.previous_ids[0]) == ("B8", "B8,A7")
    assert rows.area_before_m2 == pytest.approx(rows.area_after_m2)


TWICE = replace(PLAIN, confirming=Confirming(dates=2, of=3))
EARLIER = {"first_seen": ["2020"], "last_seen": ["2023"], "building_id": ["A7"]}


@pytest.mark.parametrize(
    ("status", "history", "after", "expected", "remembered"),
    [
        ("unchanged", "1", [], "missing", "10"),
        ("missing", "10", [], "removed", "100"),
        ("missing", "10", [HOUSE], "unchanged", "101"),
        ("missing", "101", [], "removed", "010"),
        ("unchanged", "111", [], "missing", "110"),
        ("appearing", "1", [HOUSE], "added", "1"),
        ("appearing", "1", [], "appearing", "10"),
        ("appearing", "10", [HOUSE], "added", "1"),
        ("unchanged", "1", [(0, 0, 15, 10)], "changing", "1e"),
        ("changing", "1e", [(0, 0, 15, 10)], "changed", "1"),
        ("changing", "1e", [HOUSE], "unchanged", "1e1"),
        ("unchanged", "1", [(0, 0, 4, 10), (4, 0, 10, 10)], "changing", "1s"),
        ("appearing", "1", [(0, 0, 4, 10), (4, 0, 10, 10)], "added", "1"),
        ("appearing", "1", [(0, 0, 15, 10)], "added", "1"),
    ],
)
def test_a_change_is_believed_when_two_of_three_dates_say_so(
    status: str, history: str, after: list[Box], expected: str, remembered: str
) -> None:
    rows = told([HOUSE], after, TWICE, status=[status], history=[history], **EARLIER)
    assert rows.status.tolist() == [expected]
    assert (rows.kind[0] is not None) == (expected in {"changed", "changing"})
    assert (rows.history[0], rows.building_id[0], rows.first_seen[0]) == (remembered, "A7", "2020")
    assert rows.last_seen[0] == ("2025" if after else "2023")
    taken = after[0] if expected in {"changed", "added"} and len(after) == 1 else HOUSE
    assert rows.polygons[0].equals(outline(taken))


def test_what_two_of_three_dates_did_not_see_again_is_forgotten() -> None:
    assert len(told([HOUSE], [], TWICE, status=["appearing"], history=["10"], **EARLIER)) == 0


def test_a_date_without_data_is_no_date() -> None:
    blind = replace(TWICE, evidence_after=NOWHERE)
    rows = told([HOUSE], [], blind, status=["missing"], history=["10"], **EARLIER)
    assert (rows.status[0], rows.history[0]) == ("unobserved", "10")
    waiting = told([HOUSE], [], blind, status=["appearing"], history=["10"], **EARLIER)
    assert (waiting.status[0], waiting.history[0]) == ("appearing", "10")
    # unseen twice already, under another rule of confirming
    rarely = told([HOUSE], [], blind, status=["appearing"], history=["100"], **EARLIER)
    assert (rarely.status.tolist(), rarely.history.tolist()) == (["appearing"], ["100"])


def test_one_seen_for_the_first_time_waits_for_a_second() -> None:
    rows = told([], [HOUSE], TWICE)
    assert (rows.status[0], rows.history[0]) == ("appearing", "1")
    once = replace(PLAIN, confirming=Confirming(dates=1, of=3))
    assert told([], [HOUSE], once).status.tolist() == ["added"]


HALVES: list[Box] = [(0, 0, 4, 10), (4, 0, 10, 10)]
TWO = {"building_id": ["A7", "B8"], "first_seen": [None] * 2, "last_seen": [None] * 2}


def test_buildings_that_may_have_merged_stay_two_until_that_is_sure() -> None:
    boxes, known = HALVES, TWO
    rows = told(boxes, [HOUSE], TWICE, status=["unchanged"] * 2, history=["1"] * 2, **known)
    assert rows.status.tolist() == ["changing"] * 2 and rows.kind.tolist() == ["merged"] * 2
    assert rows.building_id.tolist() == ["A7", "B8"] and rows.history.tolist() == ["1m", "1m"]
    assert rows.area_before_m2 / rows.area_after_m2 == pytest.approx([0.4, 0.6])
    assert rows.previous_ids.tolist() == [None, None]
    later = told(boxes, [HOUSE], TWICE, status=["changing"] * 2, history=["1m"] * 2, **known)
    assert (later.status.tolist(), later.previous_ids.tolist()) == (["changed"], ["B8,A7"])


def test_of_merged_buildings_one_that_is_believed_leads_however_small_it_is() -> None:
    states = {"status": ["unchanged", "appearing"], "history": ["1"] * 2, **TWO}
    rows = told(HALVES, [HOUSE], **states)
    assert (rows.status.tolist(), rows.building_id.tolist()) == (["changed"], ["A7"])
    assert rows.previous_ids.tolist() == ["A7"]
    waiting = told(HALVES, [HOUSE], TWICE, **states)
    assert dict(zip(waiting.building_id, waiting.status, strict=True)) == {
        "A7": "changing",
        "B8": "appearing",
    }


def test_two_that_nobody_believes_yet_stay_two_until_one_is_built_over_them() -> None:
    states = {"status": ["appearing"] * 2, "history": ["1"] * 2, **TWO}
    thrice = replace(PLAIN, confirming=Confirming(dates=3, of=5))
    rows = told(HALVES, [HOUSE], thrice, **states)
    assert (rows.status.tolist(), rows.building_id.tolist()) == (["appearing"] * 2, ["A7", "B8"])
    assert rows.history.tolist() == ["11", "11"]
    added = told(HALVES, [HOUSE], TWICE, **states)
    assert (added.status.tolist(), added.building_id.tolist()) == (["added"], ["B8"])
    assert added.polygons[0].equals(outline(HOUSE)) and added.previous_ids.tolist() == [None]
    assert added.area_before_m2 == pytest.approx(added.area_after_m2)


@pytest.mark.parametrize(("before", "after", "telling"), [([HOUSE], HALVES, PLAIN), (HALVES, [HOUSE], TWICE)])
def test_the_order_in_which_buildings_were_linked_does_not_show(
    before: list[Box], after: list[Box], telling: Telling
) -> None:
    rows, again = (told(before, after, telling, step=step) for step in (1, -1))
    for name in ("row_before", "row_after", "building_id", "area_before_m2"):
        assert getattr(rows, name).tolist() == getattr(again, name).tolist()
    assert len({*zip(rows.row_before, rows.row_after, strict=True)}) == 2


def test_rows_come_from_north_to_south_whatever_became_of_them() -> None:
    before: list[Box] = [(0, 0, 10, 10), (0, 40, 10, 50), (0, 80, 10, 90)]
    after: list[Box] = [(0, 20, 10, 30), (0, 40, 10, 50), (0, 100, 10, 110)]
    assert told(before, after).status.tolist() == ["added", "removed", "unchanged", "added", "removed"]


def test_no_buildings_give_no_rows() -> None:
    assert len(told([], [])) == 0
