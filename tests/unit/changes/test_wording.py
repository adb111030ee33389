"""The words of a report on change: right numbers, right grammar, and nothing that nobody knows."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS

from buildmap.changes import wording
from buildmap.changes.findings import StatusCount
from tests.unit.changes.reports import counts_of, make_blocks, make_examples, make_report


def fact(name: str, **parts: object) -> str | None:
    return dict(wording.compared_facts(make_report(**parts))).get(name)


def test_what_was_found_is_a_sentence() -> None:
    assert wording.verdict(make_report())[0] == (
        "Of 12,310 buildings before, 41 are gone, 63 are changed (40 enlarged, 23 split) and 12,197 are "
        "unchanged. Of 12,321 buildings after, 52 are new."
    )


def test_one_building_is_and_two_are() -> None:
    report = make_report(
        counts=counts_of({("added", None): 1, ("removed", None): 1, ("changed", "split"): 2})
    )
    report = replace(report, before=replace(report.before, buildings=1))
    assert wording.verdict(report)[0] == (
        "Of 1 building before, 1 is gone, 2 are changed (2 split) and 0 are unchanged. "
        "Of 12,321 buildings after, 1 is new."
    )


def test_kinds_of_what_waits_are_not_told_as_changes() -> None:
    assert "reduced" not in wording.verdict(make_report())[0]


def test_what_waits_for_another_date_is_said() -> None:
    assert wording.verdict(make_report())[1] == (
        "17 seem new, 3 seem gone and 1 seems changed, but that counts only when another date confirms it."
    )
    only = counts_of({("missing", None): 1})
    assert wording.verdict(make_report(counts=only))[1] == (
        "1 seems gone, but that counts only when another date confirms it."
    )
    assert len(wording.verdict(make_report(counts=counts_of({("added", None): 5})))) == 2


def test_what_could_not_be_judged_is_said() -> None:
    assert wording.verdict(make_report())[-1].startswith(
        "6 buildings could not be judged: the imagery of the other date"
    )
    assert wording.verdict(make_report(counts=counts_of({("added", None): 5})))[-1] == (
        "Every building stands where the imagery of the other date has data."
    )


@pytest.mark.parametrize(("side", "wrong"), [("before", "new"), ("after", "gone")])
def test_a_date_without_evidence_is_named_with_the_error_that_may_follow(side: str, wrong: str) -> None:
    report = make_report(counts=counts_of({("added", None): 5}))
    blind = replace(report, **{side: replace(getattr(report, side), evidence=None)})
    assert wording.verdict(blind)[-1] == (
        f"Nothing told where the imagery {side} had data: what it did not see may be counted as {wrong}."
    )
    unseen = replace(blind, counts=counts_of({("unobserved", None): 1}))
    assert (
        wording.verdict(unseen)[-1]
        == f"{wording.verdict(make_report(counts=unseen.counts))[-1]} " + (wording.verdict(blind)[-1])
    )


def test_blocks_that_know_no_shift_have_no_table() -> None:
    blocks = make_blocks()
    unknown = replace(blocks, source=np.full(len(blocks.source), "none", np.object_))
    assert wording.shift_tables(unknown, 1.0) == ()
    assert len(wording.shift_tables(blocks, 1.0)) == 2


def test_a_date_is_named_with_what_is_known_of_it() -> None:
    assert fact("Before") == "may.gpkg, 2024-05-01, 12,310 buildings"
    assert fact("After") == "june.gpkg, 12,321 buildings"


def test_the_shift_is_told_in_words_and_metres() -> None:
    assert fact("Shift") == (
        "AFTER lies 3.00 m west and 4.00 m north of BEFORE (median of 5 blocks), at most 15.00 m off; that "
        "was undone before buildings were compared. In 1 block nothing told it."
    )
    few = replace(make_blocks(3), source=np.array(["own", "none", "none"]))
    told = str(fact("Shift", shifts=few))
    assert "(median of 1 block), at most 5.00 m off;" in told and told.endswith(
        "In 2 blocks nothing told it."
    )
    assert str(fact("Shift", unit_m=0.5)).startswith("AFTER lies 1.50 m west and 2.00 m north of BEFORE")


def test_no_shift_and_an_unknown_shift_are_two_things() -> None:
    assert fact("Shift", shifts=None) is None
    blocks = make_blocks(1)
    assert str(fact("Shift", shifts=blocks)).startswith("No shift between the dates could be told")


def test_headlines_count_rows_and_ground() -> None:
    lines = {line.name: line for line in wording.headlines(make_report())}
    assert [line.value for line in lines.values()] == ["52", "41", "63", "6"]
    assert list(lines) == ["Added", "Removed", "Changed", "Not judged"]
    assert lines["Added"].meaning.endswith("7,800 m² of ground.")
    assert lines["Removed"].meaning.endswith("4,100 m² of ground.")
    assert lines["Changed"].meaning.endswith("+3,150 m² of ground.")


def test_the_table_of_statuses_has_rows_and_ground_of_each() -> None:
    statuses, kinds = wording.status_tables(make_report())
    cells = {line.name: line.cells for line in statuses.lines}
    assert list(cells) == [
        "added",
        "removed",
        "changed",
        "unobserved",
        "appearing",
        "missing",
        "changing",
        "unchanged",
    ]
    assert [line.note for line in statuses.lines] == list(wording.MEANINGS.values())
    assert cells["added"] == ("52", "0", "7,800", "+7,800")
    assert cells["removed"] == ("41", "4,100", "0", "-4,100")
    assert cells["changed"] == ("63", "6,300", "9,450", "+3,150")
    assert cells["unchanged"] == ("12,197", "1,219,700", "1,829,550", "+609,850")
    assert [(line.name, line.cells[0]) for line in kinds.lines] == [
        ("changed: enlarged", "40"),
        ("changed: split", "23"),
        ("changing: reduced", "1"),
    ]


def test_what_was_not_seen_is_no_loss_of_ground() -> None:
    statuses, _ = wording.status_tables(make_report())
    assert {line.name: line.cells for line in statuses.lines}["unobserved"] == ("6", "600", "0", "-")


def test_a_status_that_waits_has_a_line_only_where_there_is_one() -> None:
    (statuses,) = wording.status_tables(make_report(counts=()))
    assert [line.name for line in statuses.lines] == [
        "added",
        "removed",
        "changed",
        "unobserved",
        "unchanged",
    ]
    assert {line.cells[0] for line in statuses.lines} == {"0"}


def test_shifts_are_counted_by_where_they_come_from() -> None:
    sources, _ = wording.shift_tables(make_blocks(), 1.0)
    assert [(line.name, *line.cells) for line in sources.lines] == [
        ("own", "4", "4,800", "5.00", "15.00"),
        ("neighbours", "1", "1,200", "10.00", "10.00"),
        ("none", "1", "0", "0.00", "0.00"),
    ]


def test_the_blocks_farthest_from_the_median_come_first_and_are_few() -> None:
    _, farthest = wording.shift_tables(make_blocks(40), 2.0)
    middles = ["402500, 4999500", "401500, 4999500", "439500, 4999500"]
    assert [line.name for line in farthest.lines[:3]] == middles
    assert farthest.lines[1].cells == ("+12.00", "+16.00", "1,200", "neighbours")
    assert len(farthest.lines) == 10


def test_the_line_below_an_example_leaves_out_what_it_does_not_have() -> None:
    added, removed, changed = (
        next(example for example in make_examples().examples if example.status == status)
        for status in ("added", "removed", "changed")
    )
    assert wording.numbers_of(added, "here") == "58 m² after; shift 2.50 m; here"
    assert wording.numbers_of(replace(removed, shift_m=math.nan), "here") == "59 m² before; here"
    assert wording.numbers_of(replace(removed, shift_m=0.004), "here") == "59 m² before; here"
    assert wording.numbers_of(replace(removed, shift_m=0.006), "here").endswith("; shift 0.01 m; here")
    assert wording.numbers_of(changed, "here") == (
        "enlarged; 61 m² before, 67 m² after; IoU 0.909; shift 2.50 m; here"
    )


def test_a_long_foreign_id_is_cut() -> None:
    example = make_examples().examples[0]
    assert wording.name_of(replace(example, building_id="x" * 80)) == "x" * 80
    assert wording.name_of(replace(example, building_id="x" * 10_000)) == "x" * 79 + "…"


def test_a_lead_says_how_many_are_shown_of_how_many() -> None:
    assert wording.lead_of("added", shown=12, rows=3412).startswith("Was not there before. 12 of 3,412, ")
    assert wording.lead_of("added", shown=1, rows=1) == "Was not there before. All of them."


def test_a_crs_without_a_code_is_named() -> None:
    own = CRS.from_proj4("+proj=tmerc +lat_0=47 +lon_0=15 +x_0=100 +y_0=200 +ellps=bessel +units=m +no_defs")
    made = dict(wording.made_facts(make_report(crs=own)))
    assert made["Working CRS"] == own.name
    assert dict(wording.made_facts(make_report()))["Working CRS"] == "EPSG:32633"


def test_how_it_was_made_has_the_notes_and_the_command() -> None:
    images = {"image_before": Path("may.tif"), "image_after": Path("june.tif")}
    names = [("Imagery before", "may.tif"), ("Imagery after", "june.tif")]
    assert wording.made_facts(make_report(**images))[:2] == names
    assert wording.made_facts(make_report())[1:] == [
        ("Rules", "IoU from 0.3"),
        ("Command", "buildmap change may.gpkg june.gpkg out.gpkg --html report.html"),
        ("Made by", "buildmap 1.2.3"),
    ]


def test_a_count_of_no_status_is_refused() -> None:
    with pytest.raises(ValueError, match="vanished"):
        StatusCount(status="vanished", kind=None, rows=1, before_m2=0, after_m2=0)
