"""What a comparison of two dates has found, as a report tells it."""

from dataclasses import dataclass
from pathlib import Path

from pyproj import CRS

from buildmap.changes.columns import STATUSES
from buildmap.changes.density import Overview
from buildmap.changes.examples import Example
from buildmap.changes.shifts import ShiftBlocks


@dataclass(frozen=True, slots=True, kw_only=True)
class DateFacts:
    """One of the two dates."""

    name: str
    """Of the layer, as it was typed."""
    date: str | None
    """When the imagery was taken, as far as anybody says."""
    buildings: int
    """In the layer."""
    evidence: str | None
    """What told where the imagery had data; None where nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """Rows of one status, or of one kind of it."""

    status: str
    """One of `examples.STATUSES`."""
    kind: str | None
    """How they changed; None where that has no name."""
    rows: int
    """Of the layer of changes."""
    before_m2: float
    """Ground of all of them at the first date."""
    after_m2: float
    """Ground of all of them at the second date."""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"no status: {self.status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport:
    """All that is shown."""

    title: str
    """Heading of the page."""
    before: DateFacts
    """The first date."""
    after: DateFacts
    """The second date."""
    counts: tuple[StatusCount, ...]
    """By status and kind, in any order; what is absent was not found."""
    shifts: ShiftBlocks | None
    """How far AFTER lies off BEFORE; None where that was not looked at."""
    unit_m: float
    """Metres per unit of the working CRS."""
    examples: tuple[Example, ...]
    """As `Examples` gives them."""
    overview: Overview
    """As `Examples` gives it."""
    crs: CRS
    """The working CRS."""
    image_before: Path | None
    """Raster to show the first date on."""
    image_after: Path | None
    """Raster to show the second date on."""
    version: str
    """Of this program."""
    command: str
    """What was typed."""
    notes: tuple[tuple[str, str], ...] = ()
    """Further facts, as name and value: by which rules it was judged."""

    def of_status(self, status: str) -> StatusCount:
        """Sum up one status."""
        some = [one for one in self.counts if one.status == status]
        return StatusCount(
            status=status,
            kind=None,
            rows=sum(one.rows for one in some),
            before_m2=sum(one.before_m2 for one in some),
            after_m2=sum(one.after_m2 for one in some),
        )
