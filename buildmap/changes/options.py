"""What a comparison of two dates is asked."""

from dataclasses import dataclass, field
from pathlib import Path

from buildmap.changes.columns import Status
from buildmap.changes.history import Confirming
from buildmap.changes.verdicts import Judging


@dataclass(frozen=True, slots=True, kw_only=True)
class Date:
    """One of the two dates."""

    path: Path
    """Layer of footprints: any vector file GDAL reads, or GeoParquet."""
    layer: str | None = None
    """Needed where the file has several layers with polygons."""
    valid: Path | None = None
    """Raster or layer that says where the imagery had data; the layer `valid` of the file itself, if it has
    one, when None."""
    date: str | None = None
    """When the imagery was taken; what the layer says when None."""
    image: Path | None = None
    """Raster to show in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """What counts as a change."""

    judging: Judging = field(default_factory=Judging)
    """When buildings of two dates are one."""
    confirming: Confirming = field(default_factory=Confirming)
    """How many dates must agree."""
    shift_tolerance_m: float = 5.0
    """The longest shift between the dates that is looked for; 0 = they lie on each other."""
    shift_block_m: float = 1000.0
    """Side of the squares of ground that have a shift of their own."""
    id_column: str | None = None
    """Column of BEFORE with the ids that live on; `building_id`, if it is there, when None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is written, and how."""

    layer: str = "changes"
    """Name of the layer."""
    format: str | None = None
    """GDAL's name of the format; by the suffix of the output when None."""
    target_crs: str | None = None
    """CRS of the layer; that of BEFORE when None."""
    only: tuple[Status, ...] = ()
    """Only rows of these statuses; all when empty, which the next run can take as its BEFORE."""
    shifts: Path | None = None
    """GeoPackage for the shift of every block."""
    html: Path | None = None
    """Report for people."""
    overwrite: bool = False
    """Replace existing outputs."""
    wait_s: float = 0.0
    """Seconds to wait for another run that writes the same output."""
    command: str = ""
    """What was typed, to be told in the report."""
