"""How buildings that a network finds one by one are read, and a strip of them: values, and nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from buildmap.raster.windows import Window

Way = Literal["along", "walk"]

MIN_SCORE = 0.5
"""A map wants buildings that are more likely there than not; a model's own least score is for curves."""
SUFFIX = ".npz"
"""Of the files of strips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How boxes, masks and heat maps become polygons; strips depend on all of it."""

    min_score: float
    """Objects with a lower score are left out, 0..1."""
    threshold: float
    """Probability from which a pixel belongs to a mask, 0..1."""
    grouping: Way
    """In which order keypoints are joined."""
    margin_px: float
    """How far outside the core the centre of an object may lie; no more than the halo."""
    peak_min: float = 0.3
    """Least height of a peak of the heat map, 0..1, to be a keypoint."""

    def __post_init__(self) -> None:
        for name in ("min_score", "threshold", "peak_min"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        if self.margin_px < 0:
            raise ValueError(f"margin_px {self.margin_px} is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStrip:
    """One strip, with what was found in its windows."""

    packed: bytes
    """Its objects, by `object_files.pack`."""
    windows: int
    """Windows in it."""
    skipped: int
    """Of these, windows the network never saw: nothing in their cores was valid, or wanted."""
    gaps: tuple[Window, ...]
    """Cores of windows that could not be read."""
