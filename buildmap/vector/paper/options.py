"""What HR-Mamba's text leaves open in its chain of outlines, as one value; the paper gives none of these."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions:
    """Settings of the chain, in pixels; HR-Mamba (section 2.6) names the steps and gives no value for any."""

    curvature_quantile: float = 0.75
    """Share of the contours whose mean curvature is low, 0..1."""
    ratio_quantile: float = 0.75
    """Share of the contours whose perimeter-area ratio is low, 0..1."""
    noise_quantile: float = 0.75
    """Share of the contours whose noise is low, 0..1."""
    tolerances_px: tuple[float, ...] = (1.5, 2.0, 2.5, 3.0)
    """The candidates: how far, in pixels, a simplified outline may lie off."""
    all_simplifiers: bool = False
    """Let all three simplifiers compete for every contour, not only the one of its class."""
    curvature_weight: float = 0.2
    """Of the agreement of curvatures in the score."""
    ratio_weight: float = 0.3
    """Of the agreement of the perimeter-area ratios in the score."""
    noise_weight: float = 0.5
    """Of the noise that is gone in the score."""
    directions_max: int = 4
    """Most principal directions of one outline, before right angles are added."""
    roundness_max: float = 0.075
    """An outline whose radii deviate less than this from their mean, by root mean square, is round."""
    consensus_min: float = 0.25
    """How much of the contour must lie along principal directions: 0 = as much as by chance, 1 = all."""
    area_change_max: float = 0.25
    """Largest change of the area, as a share of the raw outline's."""

    def __post_init__(self) -> None:
        shares = ("curvature_quantile", "ratio_quantile", "noise_quantile", "consensus_min")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        for name in ("curvature_weight", "ratio_weight", "noise_weight", "roundness_max", "area_change_max"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is negative or not finite")
        if self.curvature_weight + self.ratio_weight + self.noise_weight <= 0:
            raise ValueError("one of the weights of the score must be positive")
        if not self.tolerances_px or not all(0 < tolerance < math.inf for tolerance in self.tolerances_px):
            raise ValueError(f"tolerances_px {self.tolerances_px} are not one or more positive lengths")
        if self.directions_max < 1:
            raise ValueError(f"directions_max {self.directions_max} is less than 1")
