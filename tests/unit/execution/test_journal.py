"""The journal believes only what is on disk, and only of the same plan."""

from pathlib import Path

import pytest

from buildmap.errors import MismatchError
from buildmap.execution.journal import Journal, missing_bytes

PLAN = {"input": "a.tif 12", "halo_px": "192"}


def finish_step(journal: Journal, step: int, text: str = "rows") -> None:
    journal.product(step).write_text(text)
    journal.record(step, {"rows": step})


def test_finished_steps_are_known_to_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    journal = Journal(folder, PLAN, suffix=".tif")
    for step in (0, 7, 1_234_567):
        finish_step(journal, step)
    again = Journal(folder, dict(PLAN), suffix=".tif")
    assert again.done() == {0, 7, 1_234_567}
    assert again.facts(7) == {"rows": 7}


def test_a_product_without_a_record_and_a_record_without_a_product_are_not_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work", PLAN, suffix=".tif")
    journal.product(1).write_text("rows")
    finish_step(journal, 2)
    journal.product(2).unlink()
    finish_step(journal, 3)
    journal.forget(3)
    assert journal.done() == set()


def test_another_plan_is_refused_with_both_values(tmp_path: Path) -> None:
    finish_step(Journal(tmp_path / "work", PLAN, suffix=".tif"), 0)
    with pytest.raises(MismatchError, match="halo_px was 192, is 64; tta was absent, is d4") as caught:
        Journal(tmp_path / "work", {**PLAN, "halo_px": "64", "tta": "d4"}, suffix=".tif")
    assert "--restart" in str(caught.value.hint)
    assert caught.value.exit_code == 78


def test_another_plan_may_begin_where_nothing_was_done_and_never_counts_foreign_steps(tmp_path: Path) -> None:
    first = Journal(tmp_path / "work", PLAN, suffix=".tif")
    second = Journal(tmp_path / "work", {**PLAN, "halo_px": "64"}, suffix=".tif")
    finish_step(first, 0)
    finish_step(second, 1)
    assert (first.done(), second.done()) == ({0}, {1})


def test_what_a_run_will_take_goes_by_what_it_has_done(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    assert missing_bytes(folder, 10) is None
    journal = Journal(folder, PLAN, suffix=".tif")
    assert missing_bytes(folder, 10) is None
    finish_step(journal, 0, "x" * 1000)
    finish_step(journal, 3, "x" * 3000)
    (folder / "000004.tmp").write_text("x" * 700)
    assert missing_bytes(folder, 10) == 8 * 2000
    assert missing_bytes(folder, 10, output_share=0.5) == 8 * 2000 + 10_000
    (tmp_path / "out").write_text("x" * 500)
    assert missing_bytes(folder, 10) == 8 * 2250
    assert missing_bytes(folder, 10, output_share=0.5) == 8 * 2000 + 10_000 - 500
    assert missing_bytes(folder, 2) is None
    assert missing_bytes(folder, 2, output_share=0.5) == 2000 - 500
    (tmp_path / "out").write_text("x" * 2500)
    assert missing_bytes(folder, 2, output_share=0.5) is None
