"""How footprints are drawn, as a value; what draws them is compiled, and imported where it is needed."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["raw", "simplify", "paper", "adaptive"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Pixel edges; Douglas and Peucker; the adaptive chain of HR-Mamba, section 2.6; lines fitted to walls."""

Outline = Literal["edge", "subpixel"]
OUTLINES: tuple[Outline, ...] = get_args(Outline)
"""Where an outline runs: along pixel edges, or where the probability crosses the threshold."""

STEPS = 254
"""uint8 value of probability 1."""


def lowest_value(probability: float) -> int:
    """Give the smallest of the values 0..254 that reaches a probability."""
    return math.ceil(round(probability * STEPS, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlining:
    """How footprints are drawn."""

    threshold: float = 0.5
    """Probability from which a pixel is a building, 0..1."""
    hysteresis: float | None = None
    """Probability that one pixel of a building must reach, 0..1; none must when None."""
    split: bool = False
    """Part touching buildings between their seeds."""
    seed: float = 0.95
    """Probability from which a pixel belongs to a seed, 0..1."""
    min_seed_px: int = 20
    """Smaller seeds are none."""
    outline: Outline = "edge"
    """Where outlines run before they are fitted."""
    method: Method = "adaptive"
    """How outlines are fitted."""
    simplify_m: float | None = None
    """Metres a corner may lie off the outline of the method 'simplify'; one pixel when None."""
    min_area_m2: float = 5.0
    """Smaller footprints are left out."""
    min_hole_m2: float = 5.0
    """Smaller holes are filled."""

    def __post_init__(self) -> None:
        for name in ("threshold", "hysteresis", "seed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} {value} is not within 0..1")
        if self.hysteresis is not None and self.hysteresis < self.threshold:
            raise ValueError(f"hysteresis {self.hysteresis} is below threshold {self.threshold}")
        if self.split and self.seed <= self.threshold:
            raise ValueError(f"seed {self.seed} is not above threshold {self.threshold}")
        if self.min_seed_px < 1:
            raise ValueError(f"min_seed_px {self.min_seed_px} is below 1")
        if self.outline not in OUTLINES or self.method not in METHODS:
            raise ValueError(f"outline {self.outline!r}, method {self.method!r}: not among those there are")
        for name in ("simplify_m", "min_area_m2", "min_hole_m2"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} {value} is not a length or area")
