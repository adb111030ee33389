"""How footprints are drawn, as a value; what draws them is compiled, and imported where it is needed."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlining:
    """How footprints are drawn."""

    threshold: float = 0.5
    """Probability from which a pixel is a building, 0..1."""
    simplify_m: float | None = None
    """Metres a corner may lie off the simplified outline; one pixel when None, raw pixel edges when 0."""
    min_area_m2: float = 5.0
    """Smaller footprints are left out."""
    min_hole_m2: float = 5.0
    """Smaller holes are filled."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is not within 0..1")
        for name in ("simplify_m", "min_area_m2", "min_hole_m2"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} {value} is not a length or area")
