"""The words of a report on change: what was found and what was not judged, in sentences and in tables."""

import math
from collections.abc import Sequence

import numpy as np

from buildmap.changes.columns import STATUSES
from buildmap.changes.examples import Example
from buildmap.changes.findings import ChangeReport, DateFacts
from buildmap.changes.shifts import ShiftBlocks
from buildmap.metrics.headline import Headline
from buildmap.metrics.layout import UNDEFINED, Line, Table, count, measure, share, signed

MEANINGS = {
    "added": "Was not there before.",
    "removed": "Is not there any more.",
    "changed": "Is there at both dates, but not the same.",
    "unobserved": "The imagery of the other date shows nothing there.",
    "appearing": "Seems new; waits for another date to confirm it.",
    "missing": "Seems gone; waits for another date to confirm it.",
    "changing": "Seems changed; waits for another date to confirm it.",
    "unchanged": "Is there at both dates.",
}
"""What each status says."""
_SOURCES = {
    "own": "from buildings of the block itself",
    "neighbours": "from the blocks around it, too",
    "all": "from all blocks together",
    "none": "nothing to tell it from: taken as none",
}
_FARTHEST = 10
"""Blocks shown one by one."""
_LEAST_SHIFT_M = 0.005
"""Shorter ones are told as none."""
_LONGEST_ID = 80
"""Characters of a foreign id that are shown."""


def headlines(report: ChangeReport) -> list[Headline]:
    """Choose the numbers to begin with."""
    added, removed, changed, unseen = (
        report.of_status(status) for status in ("added", "removed", "changed", "unobserved")
    )
    net = changed.after_m2 - changed.before_m2
    found = [
        ("Added", added.rows, f"{MEANINGS['added']} {count(added.after_m2)} m² of ground."),
        ("Removed", removed.rows, f"{MEANINGS['removed']} {count(removed.before_m2)} m² of ground."),
        ("Changed", changed.rows, f"{MEANINGS['changed']} {signed(net, ',.0f')} m² of ground."),
        ("Not judged", unseen.rows, MEANINGS["unobserved"]),
    ]
    return [
        Headline(name=name, value=count(rows), interval="", meaning=meaning) for name, rows, meaning in found
    ]


def verdict(report: ChangeReport) -> list[str]:
    """Say in words what was found, what waits for another date, and what nobody can know."""
    return [told for told in (_found(report), _waiting(report), _not_judged(report)) if told]


def compared_facts(report: ChangeReport) -> list[tuple[str, str]]:
    """Say what was compared, and how far the dates lie apart."""
    facts = [
        ("Before", _date(report.before)),
        ("After", _date(report.after)),
        ("Shift", "" if report.shifts is None else _shift(report.shifts, report.unit_m)),
    ]
    return [(name, value) for name, value in facts if value]


def status_tables(report: ChangeReport) -> tuple[Table, ...]:
    """Count rows and ground by status, and what changed by kind."""
    totals = [report.of_status(status) for status in STATUSES]
    always = {"added", "removed", "changed", "unobserved", "unchanged"}
    head = ("", "rows", "before, m²", "after, m²", "gain, m²")
    by_status = [
        _count_line(one.status, (one.rows, one.before_m2, one.after_m2), MEANINGS[one.status])
        for one in totals
        if one.rows or one.status in always
    ]
    tables = [Table(title="What became of the buildings", head=head, lines=tuple(by_status))]
    kinds = sorted(
        (one for one in report.counts if one.kind is not None and one.rows),
        key=lambda one: (STATUSES.index(one.status), -one.rows, one.kind),
    )
    if kinds:
        by_kind = [
            _count_line(f"{one.status}: {one.kind}", (one.rows, one.before_m2, one.after_m2)) for one in kinds
        ]
        tables.append(Table(title="How they changed", head=head, lines=tuple(by_kind)))
    return tuple(tables)


def shift_tables(blocks: ShiftBlocks, unit_m: float) -> tuple[Table, ...]:
    """Show where the shifts come from, and the blocks farthest from what is usual."""
    if not (blocks.source != "none").any():
        return ()
    way = np.stack([blocks.dx, blocks.dy], axis=1) * unit_m
    length = np.hypot(*way.T)
    lines = []
    for source, meaning in _SOURCES.items():
        if (some := blocks.source == source).any():
            numbers = (count(some.sum()), count(blocks.pairs[some].sum()))
            spread = (measure(float(np.median(length[some]))), measure(float(length[some].max())))
            lines.append(Line(name=source, cells=(*numbers, *spread), note=meaning))
    off = np.hypot(*(way - np.median(way, axis=0)).T)
    farthest = np.argsort(-off, kind="stable")[:_FARTHEST]
    middle = (blocks.box[:, :2] + blocks.box[:, 2:]) / 2
    return (
        Table(
            title="Where the shifts come from",
            head=("shift", "blocks", "pairs", "median, m", "longest, m"),
            lines=tuple(lines),
        ),
        Table(
            title="Blocks farthest from the median shift",
            head=("middle of the block", "east, m", "north, m", "pairs", "from"),
            lines=tuple(
                Line(
                    name=f"{middle[block, 0]:.9g}, {middle[block, 1]:.9g}",
                    cells=(
                        signed(float(way[block, 0])),
                        signed(float(way[block, 1])),
                        count(blocks.pairs[block]),
                        str(blocks.source[block]),
                    ),
                )
                for block in farthest
            ),
        ),
    )


def made_facts(report: ChangeReport) -> list[tuple[str, str]]:
    """Say how it was made."""
    images = [
        (f"Imagery {when}", str(path))
        for when, path in (("before", report.image_before), ("after", report.image_after))
        if path is not None
    ]
    crs = report.crs.to_string()
    return [
        *images,
        ("Working CRS", crs if len(crs) <= _LONGEST_ID else report.crs.name),
        *report.notes,
        ("Command", report.command),
        ("Made by", f"buildmap {report.version}"),
    ]


def name_of(example: Example) -> str:
    """Give the id of a building, cut where it would fill the page."""
    name = example.building_id
    return name if len(name) <= _LONGEST_ID else f"{name[: _LONGEST_ID - 1]}…"


def numbers_of(example: Example, where: str) -> str:
    """Say in one line what happened to a building, and where.

    Args:
        example: The building.
        where: Its place.
    """
    areas = [
        f"{count(area)} m² {when}"
        for area, when in ((example.area_before_m2, "before"), (example.area_after_m2, "after"))
        if not math.isnan(area)
    ]
    words = ["" if example.kind is None else example.kind, ", ".join(areas)]
    words.append("" if math.isnan(example.iou) else f"IoU {share(example.iou)}")
    words.append("" if not example.shift_m >= _LEAST_SHIFT_M else f"shift {measure(example.shift_m)} m")
    return "; ".join([*(word for word in words if word), where])


def lead_of(status: str, *, shown: int, rows: int) -> str:
    """Say which examples of a status are shown."""
    kept = "All of them." if shown >= rows else f"{count(shown)} of {count(rows)}, spread over the ground."
    order = "Those where most ground was gained or lost come first."
    return " ".join([MEANINGS[status], kept, order if shown > 1 else ""]).strip()


def _count_line(name: str, numbers: tuple[int, float, float], note: str = "") -> Line:
    rows, before_m2, after_m2 = numbers
    gain = UNDEFINED if name == "unobserved" else signed(after_m2 - before_m2, ",.0f")
    return Line(name=name, cells=(count(rows), count(before_m2), count(after_m2), gain), note=note)


def _date(facts: DateFacts) -> str:
    return ", ".join([facts.name, *([facts.date] if facts.date else []), _buildings(facts.buildings)])


def _found(report: ChangeReport) -> str:
    """Tell the changes that count."""
    added, removed, changed, same = (
        report.of_status(status).rows for status in ("added", "removed", "changed", "unchanged")
    )
    kinds = sorted(
        (one for one in report.counts if one.status == "changed" and one.kind and one.rows),
        key=lambda one: (-one.rows, one.kind),
    )
    how = ", ".join(f"{count(one.rows)} {one.kind}" for one in kinds)
    return (
        f"Of {_buildings(report.before.buildings)} before, {_are(removed)} gone, {_are(changed)} changed"
        f"{f' ({how})' if how else ''} and {_are(same)} unchanged. "
        f"Of {_buildings(report.after.buildings)} after, {_are(added)} new."
    )


def _waiting(report: ChangeReport) -> str:
    """Tell the changes that are not confirmed, or nothing."""
    found = [
        (report.of_status(status).rows, word)
        for status, word in (("appearing", "new"), ("missing", "gone"), ("changing", "changed"))
    ]
    seeming = [f"{count(rows)} {_verb(rows, 'seems', 'seem')} {word}" for rows, word in found if rows]
    if not seeming:
        return ""
    return f"{_and(seeming)}, but that counts only when another date confirms it."


def _not_judged(report: ChangeReport) -> str:
    """Tell what was not seen, and what nobody could know whether it was seen."""
    rows = report.of_status("unobserved").rows
    words = []
    if rows:
        words.append(
            f"{_buildings(rows)} could not be judged: the imagery of the other date has no data there. "
            "They are counted neither as new nor as gone."
        )
    if report.after.evidence is None:
        words.append(
            "Nothing told where the imagery after had data: what it did not see may be counted as gone."
        )
    if report.before.evidence is None:
        words.append(
            "Nothing told where the imagery before had data: what it did not see may be counted as new."
        )
    return " ".join(words) or "Every building stands where the imagery of the other date has data."


def _shift(blocks: ShiftBlocks, unit_m: float) -> str:
    """Tell how far the dates lie apart."""
    known = blocks.source != "none"
    if not known.any():
        return "No shift between the dates could be told from the buildings: none was assumed."
    way = np.stack([blocks.dx, blocks.dy], axis=1)[known] * unit_m
    east, north = (float(value) for value in np.median(way, axis=0))
    longest = float(np.hypot(*way.T).max())
    across = f"{measure(abs(east))} m {_verb(east < 0, 'west', 'east')}"
    along = f"{measure(abs(north))} m {_verb(north < 0, 'south', 'north')}"
    told = (
        f"AFTER lies {across} and {along} of BEFORE (median of {count(known.sum())} "
        f"{_verb(known.sum(), 'block', 'blocks')}), at most {measure(longest)} m off; that was undone before "
        "buildings were compared."
    )
    unknown = int((~known).sum())
    return (
        told
        if not unknown
        else f"{told} In {count(unknown)} {_verb(unknown, 'block', 'blocks')} nothing told it."
    )


def _buildings(number: int) -> str:
    return f"{count(number)} {_verb(number, 'building', 'buildings')}"


def _are(number: int) -> str:
    return f"{count(number)} {_verb(number, 'is', 'are')}"


def _verb(number: int | bool, one: str, several: str) -> str:
    return one if number == 1 else several


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
