"""A report on change with known numbers."""

from dataclasses import replace

import numpy as np
from pyproj import CRS

from buildmap.changes.examples import STATUSES, Examples
from buildmap.changes.findings import ChangeReport, DateFacts, StatusCount
from buildmap.changes.shifts import ShiftBlocks
from tests.scenes import UTM
from tests.unit.changes.rows import squares


def counts_of(rows: dict[tuple[str, str | None], int]) -> tuple[StatusCount, ...]:
    """Give each row 100 m2 before and 150 m2 after, as far as it was there."""
    return tuple(
        StatusCount(
            status=status,
            kind=kind,
            rows=count,
            before_m2=0.0 if status in {"added", "appearing"} else 100.0 * count,
            after_m2=0.0 if status in {"removed", "missing", "unobserved"} else 150.0 * count,
        )
        for (status, kind), count in rows.items()
    )


FOUND = counts_of(
    {
        ("added", None): 52,
        ("removed", None): 41,
        ("changed", "enlarged"): 40,
        ("changed", "split"): 23,
        ("changed", "merged"): 0,
        ("unobserved", None): 6,
        ("appearing", None): 17,
        ("missing", None): 3,
        ("changing", "reduced"): 1,
        ("unchanged", None): 12_197,
    }
)


def make_blocks(count: int = 6) -> ShiftBlocks:
    """Lay blocks of 1 km side by side, shifted 3 m west and 4 m north; two are off, one tells nothing."""
    left = 400_000 + 1000.0 * np.arange(count)
    bottom = np.full(count, 4_999_000.0)
    dx, dy = np.full(count, -3.0), np.full(count, 4.0)
    dx[1:2], dy[1:2] = 6.0, 8.0
    dx[2:3], dy[2:3] = -9.0, 12.0
    dx[-1:] = dy[-1:] = 0.0
    source = np.full(count, "own", dtype="U10")
    source[1:2], source[-1:] = "neighbours", "none"
    pairs = np.full(count, 1200)
    pairs[-1:] = 0
    return ShiftBlocks(
        box=np.stack([left, bottom, left + 1000, bottom + 1000], axis=1),
        dx=dx,
        dy=dy,
        pairs=pairs,
        spread=np.full(count, 0.3),
        source=source,
    )


def make_examples(per_status: int = 2) -> Examples:
    """Keep some squares of each status, on the ground of `test_report`'s rasters."""
    examples = Examples(per_status=per_status)
    count = len(STATUSES) * 3
    number = np.arange(count)
    xy = np.stack([400_030 + 20.0 * (number % 8), 4_999_970 - 20.0 * (number // 8)], axis=1)
    examples.add(squares(xy, 6 + number / 10, [STATUSES[row % len(STATUSES)] for row in number]))
    return examples


def make_report(**parts: object) -> ChangeReport:
    """Make a report of everything, without rasters."""
    examples = make_examples()
    report = ChangeReport(
        title="Changes from may.gpkg to june.gpkg",
        before=DateFacts(name="may.gpkg", date="2024-05-01", buildings=12_310, evidence="layer valid"),
        after=DateFacts(name="june.gpkg", date=None, buildings=12_321, evidence="june.tif"),
        counts=FOUND,
        shifts=make_blocks(),
        unit_m=1.0,
        examples=tuple(examples.examples),
        overview=examples.overview,
        crs=CRS.from_user_input(UTM),
        image_before=None,
        image_after=None,
        version="1.2.3",
        command="buildmap change may.gpkg june.gpkg out.gpkg --html report.html",
        notes=(("Rules", "IoU from 0.3"),),
    )
    return replace(report, **parts)
