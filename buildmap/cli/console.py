"""What a terminal, a log file or a script gets to see: summaries on stdout, all else on stderr."""

import json as json_text
import math
import sys
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from buildmap.execution.progress import Progress, Silent

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ERASE_LINE = "\r\033[K"
_LINE_EVERY_S = 10.0
_BAR_EVERY_S = 0.1


def report(
    summary: "DataclassInstance", *, json: bool, apart: tuple[str, ...] = (), on_stderr: bool = False
) -> None:
    """Print a verb's summary on stdout: one line of JSON, or one aligned line per field.

    A number that is not finite becomes `null`, which every JSON reader accepts. Fields named in
    `apart` are left out of the lines: the command lays them out itself. Where stdout is the output itself,
    the summary goes to stderr.
    """
    if json:
        typer.echo(json_text.dumps(_plain(summary)), err=on_stderr)
    else:
        shown = {f.name: getattr(summary, f.name) for f in fields(summary) if f.name not in apart}
        typer.echo("\n".join(_lines(shown)), err=on_stderr)


def say(text: str) -> None:
    """Write a line on stderr, over a progress bar that stands there half drawn."""
    typer.echo(f"{_ERASE_LINE if sys.stderr.isatty() else ''}{text}", err=True)


def progress(*, quiet: bool) -> Progress:
    """Give a bar for a terminal, timed lines for anything else, nothing if `quiet`."""
    if quiet:
        return Silent()
    return _Bar() if sys.stderr.isatty() else Lines(say=say, clock=time.monotonic)


def log_to_stderr() -> None:
    """Show what the library logs, from INFO up."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    handler = Handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("buildmap")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class Lines:
    """Reports progress in lines, seldom enough for a log file; short work says nothing."""

    def __init__(self, *, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say, self._clock = say, clock
        self._task, self._total, self._done, self._note = "", 0, 0, ""
        self._began_s = self._said_s = 0.0

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps."""
        self._task, self._total, self._done, self._note = task, total, 0, ""
        self._began_s = self._said_s = self._clock()

    def advance(self, steps: int = 1) -> None:
        """Count steps; say so where the last line is old."""
        self._done += steps
        now = self._clock()
        if now - self._said_s < _LINE_EVERY_S or not self._done:
            return
        self._said_s = now
        left_s = (now - self._began_s) * max(self._total - self._done, 0) / self._done
        note = f", {self._note}" if self._note else ""
        self._say(f"{self._task}: {self._done}/{self._total}, {clock_time(left_s)} left{note}")

    def note(self, text: str) -> None:
        """Keep it for the next line."""
        self._note = text


class _Bar:
    """Draws a bar with the time left, whenever work advances.

    No thread and no hidden cursor: a killed run leaves the terminal as it was.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True, markup=False, highlight=False)
        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            auto_refresh=False,
        )
        self._drawn_s = 0.0

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps; the bar of the one before disappears."""
        for old in self._rich.task_ids:
            self._rich.remove_task(old)
        self._rich.add_task(task, total=total, note="")
        self._draw()

    def advance(self, steps: int = 1) -> None:
        """Count steps, and redraw where that can be seen."""
        if not self._rich.tasks:
            return
        self._rich.advance(self._rich.task_ids[0], steps)
        if self._rich.finished:
            typer.echo(_ERASE_LINE, err=True, nl=False)
        elif time.monotonic() - self._drawn_s > _BAR_EVERY_S:
            self._draw()

    def note(self, text: str) -> None:
        """Show it beside the bar from the next drawing on."""
        for task in self._rich.task_ids:
            self._rich.update(task, note=text)

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        with self._console.capture() as drawn:
            self._console.print(self._rich.get_renderable())
        typer.echo(f"{_ERASE_LINE}{drawn.get().rstrip()}", err=True, nl=False)


def clock_time(seconds: float) -> str:
    """Write a duration as `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _plain(value: Any) -> Any:
    """Turn a value into what JSON has; a NumPy scalar becomes the number it is."""
    value = value.item() if hasattr(value, "item") else value
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _lines(summary: Any, indent: str = "") -> list[str]:
    """Lay out a dataclass, or a mapping, one line per field; what is nested is indented."""
    table = (
        summary if isinstance(summary, dict) else {f.name: getattr(summary, f.name) for f in fields(summary)}
    )
    labels = {name: f"{indent}{str(name).replace('_', ' ')}" for name in table}
    width = max(map(len, labels.values()), default=0)
    lines: list[str] = []
    for name, value in table.items():
        if is_dataclass(value) or (isinstance(value, dict) and value):
            lines += [labels[name], *_lines(value, indent + "  ")]
        elif isinstance(value, list | tuple) and value and is_dataclass(value[0]):
            lines += [labels[name], *(line for item in value for line in _lines(item, indent + "  "))]
        else:
            lines.append(f"{labels[name]:<{width}}  {_cell(value)}")
    return lines


def _cell(value: Any) -> str:
    if value is None or value in ((), [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)
