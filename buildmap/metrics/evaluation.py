"""What a user can ask of an evaluation."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from buildmap.metrics.confusion import EmptyRule
from buildmap.metrics.ground import Box

IOU_MIN = 0.5
"""Two footprints are the same building from this intersection over union on."""
MEASURES = ("boundary", "ssim", "objects", "outlines", "topology")
"""What can be left out; the pixels are always counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is compared, and how."""

    threshold: float = 0.5
    """Probability from which a pixel is a building, 0..1."""
    aoi: Path | None = None
    """Layer of polygons: only ground inside them counts."""
    bbox: Box | None = None
    """Left, bottom, right, top in the CRS of the compared grid: only ground inside counts."""
    gsd_m: float = 0.3
    """Side of a pixel in metres where both sides are layers."""
    min_area_m2: float = 0.0
    """Smaller buildings are no objects, on either side; their pixels count."""
    measures: frozenset[str] = frozenset(MEASURES)
    """Which of `MEASURES` to take; outlines are those of matched objects."""
    empty: EmptyRule = "epsilon"
    """What a share of nothing in nothing is worth."""
    boundary_m: float = 1.0
    """Width of the rims of boundary IoU, and farthest that outlines may be apart in boundary F, metres."""
    corner_m: float = 1.0
    """Farthest that two corners may be apart to be the same, metres."""
    cell_m: float = 100.0
    """Side of the cells that buildings are counted in, and that are drawn for intervals, metres."""
    regions: tuple[Path, str | None] | None = None
    """Layer of polygons, and its column of names, to score one by one."""
    by_size: bool = False
    """Score buildings by size class too."""
    strip_rows: int | None = None
    """Rows read at a time; None chooses by the width. The scores do not depend on it."""

    def __post_init__(self) -> None:
        if unknown := self.measures - set(MEASURES):
            raise ValueError(f"'{min(unknown)}' is not one of {', '.join(MEASURES)}")
        lengths = self.boundary_m, self.corner_m, self.cell_m, self.gsd_m
        if not all(length > 0 and isfinite(length) for length in lengths):
            raise ValueError("widths, tolerances, cells and pixels must be finite and above 0")
        if self.strip_rows is not None and self.strip_rows < 1:
            raise ValueError(f"strips of {self.strip_rows} rows")

    @property
    def takes_objects(self) -> bool:
        """Whether buildings are matched at all."""
        return bool(self.measures & {"objects", "outlines"}) or self.by_size
