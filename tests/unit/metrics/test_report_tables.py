"""The tables of a report."""

from dataclasses import replace

import pytest

from buildmap.metrics import report_tables as tables
from buildmap.metrics.layout import Table
from tests.unit.metrics.summaries import (
    full_summary,
    make_pair,
    make_scores,
    make_summary,
    only_pixels,
    paired_test,
    undefined_scores,
)


def cells(table: Table | None) -> dict[str, tuple[str, ...]]:
    assert table is not None
    assert len({line.name for line in table.lines}) == len(table.lines)
    assert {len(line.cells) + 1 for line in table.lines} == {len(table.head)}
    return {line.name: line.cells for line in table.lines}


def every_table() -> list[Table]:
    summary = full_summary()
    total = summary.total
    single = [
        tables.threshold_table(summary),
        tables.calibration_table(total),
        tables.boundary_table(summary),
        tables.cell_table(total),
        tables.topology_table(total),
        tables.pair_table(summary),
        tables.paired_table(summary),
    ]
    several = [
        *tables.pixel_tables(summary),
        *tables.object_tables(summary),
        *tables.outline_tables(total.outlines),
        *tables.group_tables(summary),
    ]
    return [table for table in (*single, *several) if table is not None]


def test_every_table_is_rectangular_and_has_a_title() -> None:
    found = every_table()
    assert len(found) == 20
    for table in found:
        assert table.title
        assert cells(table)


def test_pixel_scores_stand_with_their_intervals() -> None:
    summary = full_summary()
    scores, counts, macro = tables.pixel_tables(summary)
    found, pixels = cells(scores), summary.total.pixels
    interval = summary.intervals["iou"]
    assert found["IoU"] == (f"{pixels.iou:.3f}", f"{interval.low:.3f} to {interval.high:.3f}")
    assert found["Mean IoU"] == (f"{pixels.mean_iou:.3f}", "-")
    assert found["SSIM"] == ("0.924", "-")
    confusion = summary.total.confusion
    assert cells(counts) == {
        "True building": (f"{confusion.tp:,}", f"{confusion.fn:,}"),
        "True empty ground": (f"{confusion.fp:,}", f"{confusion.tn:,}"),
    }
    assert list(cells(macro)) == ["epsilon", "one", "skip"]
    assert cells(macro)["one"][0] == f"{summary.macro['one'].iou:.3f}"


def test_one_pair_has_no_mean_over_pairs_and_no_column_for_intervals_without_any() -> None:
    scores, _ = tables.pixel_tables(make_summary())
    assert scores.head == ("", "value")
    assert tables.pair_table(make_summary()) is None


def test_thresholds_are_compared_with_the_one_in_use() -> None:
    summary = full_summary()
    sweep, pixels = summary.total.sweep, summary.total.pixels
    found = cells(tables.threshold_table(summary))
    assert found["In use"] == tuple(
        f"{value:.3f}" for value in (0.5, pixels.iou, pixels.f1, pixels.precision, pixels.recall)
    )
    best = sweep.best_f1
    assert found["Best F1"] == tuple(
        f"{value:.3f}" for value in (best.threshold, best.iou, best.f1, best.precision, best.recall)
    )


def test_buildings_are_counted_scored_and_told_by_size() -> None:
    scores, counts, by_iou, by_m2, by_px = tables.object_tables(full_summary())
    assert cells(counts) == {
        "Found": ("2,731",),
        "Missed": ("655",),
        "Invented": ("412",),
        "Merged": ("87",),
        "Split": ("41",),
    }
    assert cells(scores)["AP75"] == ("0.457", "-")
    assert cells(by_iou)["0.75"][:3] == ("1,781", "1,362", "1,605")
    assert [line.note for line in by_m2.lines] == [
        "0 to 50 m²",
        "50 to 200 m²",
        "200 to 1,000 m²",
        "1,000 m² and more",
    ]
    assert cells(by_px)["medium"] == ("721", "0.410", "0.640", "0.500")


def test_outlines_cells_and_topology_have_their_units() -> None:
    total = make_scores()
    spreads, corners = tables.outline_tables(total.outlines)
    assert cells(spreads)["PoLiS, m"] == ("0.83", "0.64", "1.72")
    assert cells(spreads)["PoLiS as published code, m"] == ("0.69", "0.53", "1.44")
    assert cells(corners)["Vertex ratio"] == ("1.272",)
    assert cells(tables.cell_table(total))["Mean"] == ("-1.04", "-35.20")
    assert "250 m" in tables.cell_table(total).title
    assert cells(tables.topology_table(total))["Ground they share, m²"] == ("49",)
    assert cells(tables.boundary_table(full_summary()))["Precision"] == ("0.783",)
    assert cells(tables.calibration_table(total))["ECE"] == (f"{total.calibration.ece:.3f}",)


def test_groups_of_a_kind_share_a_table_and_columns_nobody_has_are_left_out() -> None:
    gsd, region, size = tables.group_tables(full_summary())
    assert (gsd.title, list(cells(gsd))) == ("By GSD", ["0.20-0.40 m", "0.40-0.60 m"])
    pixels, buildings = ("IoU", "F1", "precision", "recall"), ("found", "invented", "missed")
    shares = ("building precision", "building recall", "building F1")
    assert gsd.head == ("", *pixels, *shares, *buildings)
    assert region.head == ("", *pixels)
    assert size.head == ("", *shares, *buildings)
    assert cells(size)["house"][3:] == ("2,726", "412", "655")


def test_pairs_show_how_well_their_outlines_agree() -> None:
    table = tables.pair_table(full_summary())
    assert table is not None
    assert table.head[-1] == "PoLiS, m"
    assert cells(table)["west.tif"][-1] == "0.83"


def test_pairs_come_with_the_worst_first_and_the_undefined_last() -> None:
    scores = make_scores()
    pairs = tuple(
        make_pair(name, of=replace(scores, pixels=replace(scores.pixels, iou=iou)))
        for name, iou in (("a", 0.9), ("b", float("nan")), ("c", 0.2), ("d", 0.2))
    )
    table = tables.pair_table(replace(make_summary(), pairs=pairs))
    assert list(cells(table)) == ["c", "d", "a", "b"]
    assert cells(table)["b"][0] == "-"


def test_of_very_many_pairs_the_worst_are_shown_and_the_rest_counted() -> None:
    scores = only_pixels()
    pairs = tuple(
        make_pair(f"{number}", of=replace(scores, pixels=replace(scores.pixels, iou=number / 1000)))
        for number in range(250)
    )
    table = tables.pair_table(replace(make_summary(), pairs=pairs))
    assert list(cells(table)) == [str(number) for number in range(200)]
    assert "50 more" in table.title


def test_the_paired_test_tells_sign_interval_and_probability() -> None:
    summary = full_summary()
    found = cells(tables.paired_table(summary))
    assert found["IoU"] == (
        "144",
        "91 / 47 / 6",
        "+0.0123",
        "+0.0089 to +0.0154",
        "< 0.001",
        "0.012",
        "+0.35",
    )
    assert found["building F1"][2] == "-0.0045"
    undefined = replace(paired_test(0.1), p_value=float("nan"))
    assert cells(tables.paired_table(replace(summary, paired={"iou": undefined})))["IoU"][4] == "-"


@pytest.mark.parametrize(
    "table",
    [
        tables.threshold_table,
        tables.boundary_table,
        tables.pair_table,
        tables.paired_table,
        lambda summary: tables.calibration_table(summary.total),
        lambda summary: tables.cell_table(summary.total),
        lambda summary: tables.topology_table(summary.total),
    ],
)
def test_what_was_not_measured_is_no_table(table: object) -> None:
    assert callable(table)
    assert table(make_summary(of=only_pixels())) is None


def test_what_was_not_measured_is_no_line_and_what_is_undefined_no_number() -> None:
    bare = make_summary(of=only_pixels())
    assert "SSIM" not in cells(tables.pixel_tables(bare)[0])
    assert tables.object_tables(bare) == ()
    assert tables.group_tables(bare) == ()
    scores, _ = tables.object_tables(make_summary(of=undefined_scores()))
    assert cells(scores)["F1"] == ("-",)
    assert "AP" not in cells(scores)
    total = make_scores()
    assert tables.cell_table(replace(total, cells=replace(total.cells, cells=0))) is None
