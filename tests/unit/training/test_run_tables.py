"""Tables of a run against numbers worked by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from affine import Affine

from buildmap.data.dataset import Chips
from buildmap.metrics.layout import Table
from buildmap.training.run_tables import MOST_SOURCES, SourceFacts, data_tables, score_tables, source_facts
from buildmap.vector.reader import Repairs
from tests.unit.training.epochs import COUNTS, record
from tests.unit.training.ground import PRESET, write_scene

NORTH = SourceFacts(
    name="north",
    gsd_m=0.3,
    training_chips=12.5,
    validation_chips=3,
    footprints=1200,
    repairs=Repairs(null=2, mended=5),
    dropped=None,
)
SOUTH = replace(NORTH, name="south", gsd_m=0.6, footprints=None, repairs=None, training_chips=0.5)


def test_facts_are_those_of_the_opened_data(tmp_path: Path) -> None:
    buildings = [(5 + 30 * row, 5 + 30 * col, 12, 12) for row in range(5) for col in range(6)]
    town = write_scene(tmp_path, "town", buildings, buildings, shape=(160, 192), as_mask=False)
    elsewhere = Affine(0.5, 0, 410_000, 0, -0.5, 5_000_000)
    hall = write_scene(
        tmp_path, "hall", buildings, buildings, shape=(160, 192), as_mask=True, transform=elsewhere
    )
    preset = replace(
        PRESET,
        sources=(replace(town, window_px=(0, 0, 192, 128)), replace(hall, use="validation")),
        training=replace(PRESET.training, drop_annotations=0.5),
    )
    with Chips(tmp_path, preset) as chips:
        first, second = source_facts(chips.sources, chips.summaries)
    assert (first.name, first.footprints, second.name, second.footprints) == ("town", 30, "hall", None)
    assert first.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert first.training_chips == 24 and first.validation_chips == 0
    assert second.training_chips == 0 and second.validation_chips == 30
    assert first.repairs == Repairs() and second.repairs is None
    assert first.dropped is not None and 0 < first.dropped[0] < first.dropped[1] <= 30
    assert second.dropped is None or second.dropped == (0, 0)


def cells(table: Table) -> dict[str, dict[str, str]]:
    return {line.name: dict(zip(table.head[1:], line.cells, strict=True)) for line in table.lines}


def test_each_source_has_a_line_and_columns_of_nothing_are_left_out() -> None:
    in_all, each = data_tables([NORTH, SOUTH])
    assert each.head == (
        "",
        "GSD, m",
        "training chips",
        "validation chips",
        "footprints",
        "without geometry, dropped",
        "invalid, mended",
    )
    assert each.lines[0].cells == ("0.3", "12.5", "3.0", "1,200", "2", "5")
    assert each.lines[1].cells == ("0.6", "0.5", "3.0", "-", "-", "-")
    numbers = {line.name: line.cells[0] for line in in_all.lines}
    assert numbers == {
        "Sources": "2",
        "Training chips": "13.0",
        "Validation chips": "6.0",
        "Footprints": "1,200",
        "Footprints dropped": "2",
        "Footprints mended": "5",
    }


def test_annotations_left_out_on_purpose_are_told() -> None:
    thinned = [replace(NORTH, dropped=(300, 1000)), replace(SOUTH, dropped=(7, 20)), NORTH]
    in_all, each = data_tables(thinned)
    place = each.head.index("left out on purpose") - 1
    assert [line.cells[place] for line in each.lines] == ["300 of 1,000", "7 of 20", "-"]
    (line,) = [line for line in in_all.lines if line.name == "Left out on purpose"]
    assert (line.cells, line.note) == (("307",), "of 1,020 on training ground: an experiment")


def test_a_source_without_a_known_gsd_has_none() -> None:
    _, each = data_tables([replace(NORTH, gsd_m=None)])
    assert each.lines[0].cells[0] == "-"


def test_many_sources_are_cut_short_and_counted() -> None:
    in_all, each = data_tables([NORTH] * (MOST_SOURCES + 5))
    assert len(each.lines) == MOST_SOURCES
    assert each.title == "The first 200; 5 more"
    assert in_all.lines[0].cells == ("205",)


def test_scores_by_source_follow_from_the_counts() -> None:
    by_gsd, by_source = score_tables(record(3), [NORTH, SOUTH])
    north = cells(by_source)["north"]
    assert north["IoU"] == "0.600"  # 60 of 60 + 20 + 20
    assert north["precision"] == north["recall"] == north["F1"] == "0.750"
    assert north["balanced accuracy"] == f"{(60 / 80 + 100 / 120) / 2:.3f}"
    assert list(cells(by_source)) == ["north", "south"]  # equal IoU, by name
    assert list(cells(by_gsd)) == ["0.3 m", "0.6 m"]


def test_sources_of_one_gsd_are_counted_together() -> None:
    found = replace(record(1), counts_by_source={"third": (10, 0, 0, 5)} | COUNTS)
    same = replace(SOUTH, gsd_m=0.301)
    coarse = replace(NORTH, name="third", gsd_m=10.0)
    by_gsd, _ = score_tables(found, [NORTH, same, coarse])
    shown = [(name, row["IoU"]) for name, row in cells(by_gsd).items()]
    assert shown == [("0.3 m", f"{90 / 150:.3f}"), ("10 m", "1.000")]  # the finest first


def test_the_worst_source_comes_first() -> None:
    found = replace(record(1), counts_by_source={"a": (9, 1, 0, 5), "b": (1, 9, 0, 5), "c": (5, 5, 0, 5)})
    by_source = score_tables(found, [])[0]
    assert list(cells(by_source)) == ["b", "c", "a"]


def test_a_single_source_has_one_table() -> None:
    (table,) = score_tables(replace(record(1), counts_by_source={"north": COUNTS["north"]}), [NORTH])
    assert cells(table)["north"]["IoU"] == "0.600"


@pytest.mark.parametrize("facts", [[], [NORTH, SOUTH]])
def test_without_validation_ground_there_are_no_scores(facts: list[SourceFacts]) -> None:
    assert score_tables(replace(record(1), counts_by_source={}), facts) == ()
