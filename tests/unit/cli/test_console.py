"""Summaries on stdout, all else on stderr; bars for terminals only."""

import io
import json
import logging
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buildmap.cli.console import Lines, clock_time, log_to_stderr, progress, report, say
from buildmap.execution.progress import Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A nested summary."""

    iou: float
    """0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary with every kind of value."""

    output: Path = Path("out [bold].tif")
    """File."""
    windows: int = 12
    """Number."""
    area_m2: float = 1234567.891
    """Square metres."""
    ratio: float = math.nan
    """No number."""
    whole: bool = True
    """Flag."""
    gaps: tuple[str, ...] = ()
    """Empty."""
    note: str | None = None
    """Absent."""
    total: Part = Part(iou=0.5)
    """Nested."""
    parts: tuple[Part, ...] = (Part(iou=0.25), Part(iou=1.0))
    """Several."""
    by_kind: dict[str, int] = field(default_factory=lambda: {"hole": 2})
    """Counts."""


class Terminal(io.StringIO):
    """Text that a terminal would have got."""

    def isatty(self) -> bool:
        return True


def test_json_is_one_line_on_stdout_that_every_reader_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    report(Summary(), json=True)
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    assert json.loads(out, parse_constant=pytest.fail) == {
        "output": "out [bold].tif",
        "windows": 12,
        "area_m2": 1234567.891,
        "ratio": None,
        "whole": True,
        "gaps": [],
        "note": None,
        "total": {"iou": 0.5},
        "parts": [{"iou": 0.25}, {"iou": 1.0}],
        "by_kind": {"hole": 2},
    }


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(7), np.bool_(True)])
def test_a_numpy_scalar_in_a_summary_is_a_number_in_json(
    number: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report(Summary(windows=number), json=True)
    assert json.loads(capsys.readouterr().out)["windows"] == number.item()


def test_lines_are_aligned_and_say_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    report(Summary(), json=False)
    assert capsys.readouterr() == (
        "output   out [bold].tif\n"
        "windows  12\n"
        "area m2  1234568\n"
        "ratio    nan\n"
        "whole    yes\n"
        "gaps     -\n"
        "note     -\n"
        "total\n"
        "  iou  0.5\n"
        "parts\n"
        "  iou  0.25\n"
        "  iou  1\n"
        "by kind\n"
        "  hole  2\n",
        "",
    )


def test_quiet_progress_is_silent_and_a_log_file_gets_lines() -> None:
    assert isinstance(progress(quiet=True), Silent)
    assert isinstance(progress(quiet=False), Lines)


def test_lines_come_every_ten_seconds_with_the_time_left() -> None:
    said: list[str] = []
    now = [0.0]
    lines = Lines(say=said.append, clock=lambda: now[0])
    lines.start("predict", 100)
    for second in range(1, 101):
        now[0] = float(second)
        lines.advance()
    assert len(said) == 10
    assert said[0] == "predict: 10/100, 0:01:30 left"
    assert said[-1] == "predict: 100/100, 0:00:00 left"


def test_short_work_leaves_no_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    listener = progress(quiet=False)
    listener.start("predict", 3)
    listener.advance(3)
    listener.start("nothing", 0)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_disappears_when_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bar = progress(quiet=False)
    bar.advance()
    bar.start("predict [bold]", 2)
    bar.advance()
    assert "predict [bold]" in terminal.getvalue()
    assert "0/2" in terminal.getvalue()
    bar.advance()
    assert terminal.getvalue().endswith("\r\033[K")
    assert "\n" not in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_a_line_is_written_over_a_half_drawn_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    say("error: x")
    assert terminal.getvalue() == "\r\033[Kerror: x\n"


def test_a_line_in_a_log_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    say("error: x")
    assert capsys.readouterr() == ("", "error: x\n")


def test_the_log_goes_to_stderr_once_however_often_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr()
    log_to_stderr()
    logging.getLogger("buildmap.raster").info("opened %s", "a.tif")
    logging.getLogger("buildmap.raster").debug("unseen")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" buildmap.raster: opened a.tif\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3_725, "1:02:05")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text
