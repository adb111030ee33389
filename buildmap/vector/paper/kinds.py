"""Regular, complex or noisy: HR-Mamba's classes of contours, by thresholds that the image itself gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.vector.paper.measures import ContourMeasures
from buildmap.vector.paper.options import PaperOptions
from buildmap.vector.paper.quantiles import QuantileSketch

REGULAR, COMPLEX, NOISY = "regular", "complex", "noisy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Up to where a measure is low; infinite where nothing was measured, so that all is regular."""

    curvature: float
    """Radians per pixel."""
    ratio: float
    """Per pixel."""
    noise: float
    """No unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSketches:
    """What the thresholds of any number of contours are drawn from, in fixed memory."""

    curvature: QuantileSketch
    """Of radians per pixel."""
    ratio: QuantileSketch
    """Of values per pixel."""
    noise: QuantileSketch
    """Of values without a unit."""

    @classmethod
    def of(cls, measures: ContourMeasures) -> "MeasureSketches":
        """Count some measures."""
        return cls(
            curvature=QuantileSketch.of(measures.curvature),
            ratio=QuantileSketch.of(measures.ratio),
            noise=QuantileSketch.of(measures.noise),
        )

    def __add__(self, other: "MeasureSketches") -> "MeasureSketches":
        return MeasureSketches(
            curvature=self.curvature + other.curvature,
            ratio=self.ratio + other.ratio,
            noise=self.noise + other.noise,
        )


def thresholds(measures: ContourMeasures, options: PaperOptions | None = None) -> Thresholds:
    """Give the empirical quantiles of all contours of an image, exactly.

    Args:
        measures: Of every contour.
        options: The shares that count as low.
    """
    shares = options or PaperOptions()
    return Thresholds(
        curvature=_quantile(measures.curvature, shares.curvature_quantile),
        ratio=_quantile(measures.ratio, shares.ratio_quantile),
        noise=_quantile(measures.noise, shares.noise_quantile),
    )


def thresholds_of_sketches(sketches: MeasureSketches, options: PaperOptions | None = None) -> Thresholds:
    """Give the quantiles of all contours that were counted, to `quantiles.RELATIVE_ERROR`.

    Args:
        sketches: Of every contour, added up in any order.
        options: The shares that count as low.
    """
    shares = options or PaperOptions()
    return Thresholds(
        curvature=_or_infinite(sketches.curvature.quantile(shares.curvature_quantile)),
        ratio=_or_infinite(sketches.ratio.quantile(shares.ratio_quantile)),
        noise=_or_infinite(sketches.noise.quantile(shares.noise_quantile)),
    )


def kinds(measures: ContourMeasures, limits: Thresholds) -> NDArray[np.object_]:
    """Tell the class of each contour: what exceeds a threshold is high (HR-Mamba, section 2.6).

    High noise makes a contour noisy, whatever the rest; else high curvature or a high ratio makes it
    complex; else it is regular.

    Returns:
        (n,) "regular", "complex" or "noisy".
    """
    is_complex = (measures.curvature > limits.curvature) | (measures.ratio > limits.ratio)
    kind = np.full(len(measures), REGULAR, np.object_)
    kind[is_complex] = COMPLEX
    kind[measures.noise > limits.noise] = NOISY
    return kind


def _quantile(values: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else np.inf


def _or_infinite(value: float) -> float:
    return np.inf if np.isnan(value) else value
