"""Buildings of which network and map say different things, found while a raster streams by.

*Missing*: the network sees a building where the map has none. To be listed it must reach beyond the
outlines of the map by more than a tolerance, and be wider than that: outlines drawn a little too small,
or shifted, are no missing buildings. *Phantom*: the map has a building where the network sees ground.

Both come out whole and once, however the ground is cut.
"""

from dataclasses import dataclass, fields

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from buildmap.raster.burn import FootprintIndex
from buildmap.training.survey import Band
from buildmap.vector.polygons import to_map
from buildmap.vector.tracing.outlines import OutlineTracer
from buildmap.vector.tracing.trace import NODATA

_STEPS = 254
"""Values that tracing sums are counted in such steps."""
_LEAST = 1e-6
"""A probability is not taken to be closer to 0 or 1."""
_HIGHEST_LOSS = float(-np.log(_LEAST))
_LEAST_SEEN = 0.5
"""Share of a footprint that must lie on known ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """Places where the map may be wrong."""

    polygons: NDArray[np.object_]
    """(n,) in the CRS of the raster."""
    missing: NDArray[np.bool_]
    """(n,) True = missing in the map, False = a phantom of the map."""
    mean_probability: NDArray[np.float64]
    """(n,) of building, over its known pixels, 0..1."""
    loss: NDArray[np.float64]
    """(n,) mean cross-entropy over these pixels, in nats."""

    def __len__(self) -> int:
        return len(self.polygons)

    @property
    def score(self) -> NDArray[np.float64]:
        """How sure the network is that the map is wrong there: (n,) mean probability, 0..1."""
        return np.where(self.missing, self.mean_probability, 1 - self.mean_probability)

    def take(self, chosen: NDArray[np.bool_]) -> "Suspects":
        """Give some of them."""
        return Suspects(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def cross_entropy(probability: NDArray[np.float32], building: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give each pixel's cross-entropy in nats, at most 13.8; the same shape."""
    of_truth = np.where(building, probability, 1 - probability)
    return np.asarray(-np.log(np.maximum(of_truth, np.float32(_LEAST))))


class _Components:
    """Components of a mask that streams by, with the mean of two numbers over each."""

    def __init__(self, width: int, transform: Affine, *, missing: bool) -> None:
        # Equal masks give equal components in equal order, so that one tracer can sum each number.
        self._probability, self._loss = OutlineTracer(width, lowest=0), OutlineTracer(width, lowest=0)
        self._transform = transform
        self._missing = missing

    def push(
        self, mask: NDArray[np.bool_], probability: NDArray[np.float32], loss: NDArray[np.float32]
    ) -> list[Suspects]:
        """Follow more rows; give the components that have ended."""
        found = self._probability.push(_in_steps(mask, probability, 1.0))
        losses = self._loss.push(_in_steps(mask, loss, _HIGHEST_LOSS))
        return self._suspects(found.polygons, found.total / found.pixels, losses.total / losses.pixels)

    def finish(self) -> list[Suspects]:
        """Give the components that end at the lower border."""
        found, losses = self._probability.finish(), self._loss.finish()
        return self._suspects(found.polygons, found.total / found.pixels, losses.total / losses.pixels)

    def _suspects(
        self, outlines: NDArray[np.object_], probability: NDArray[np.float64], loss: NDArray[np.float64]
    ) -> list[Suspects]:
        if not len(outlines):
            return []
        found = Suspects(
            polygons=to_map(outlines, self._transform),
            missing=np.full(len(outlines), self._missing),
            mean_probability=probability / _STEPS,
            loss=loss * _HIGHEST_LOSS / _STEPS,
        )
        return [found]


class MissingBuildings:
    """Finds buildings that the map lacks."""

    def __init__(self, width: int, transform: Affine, *, threshold: float, tolerance_px: int) -> None:
        """Begin above the first row.

        Args:
            width: Of the bands.
            transform: Pixel corner (col, row) of the first band to coordinates.
            threshold: Probability from which a pixel is a building.
            tolerance_px: Ground so close to an annotation is left to it, and what is narrower is passed over.
        """
        self._components = _Components(width, transform, missing=True)
        self._threshold = threshold
        self._near_px = 2 * tolerance_px + 1
        self._thick_px = 2 * (tolerance_px // 2) + 1
        self._context_px = 2 * tolerance_px + self._thick_px - 1
        self._probability = np.empty((0, width), np.float32)
        self._building = np.empty((0, width), np.bool_)
        self._done = 0

    def push(self, band: Band) -> list[Suspects]:
        """Look at the next rows; give what is finished."""
        self._probability = np.concatenate([self._probability, band.probability])
        self._building = np.concatenate([self._building, band.building])
        return self._look(len(self._building) - self._context_px)

    def finish(self) -> list[Suspects]:
        """Give what is left after the last rows."""
        return [*self._look(len(self._building)), *self._components.finish()]

    def _look(self, end: int) -> list[Suspects]:
        """Follow the held rows up to `end`, and keep what those below must be seen together with."""
        if end <= self._done:
            return []
        rows = slice(self._done, end)
        mask, probability = self._unmapped()[rows], self._probability[rows]
        found = self._components.push(mask, probability, cross_entropy(probability, np.zeros_like(mask)))
        dropped = max(end - self._context_px, 0)
        self._probability, self._building = self._probability[dropped:], self._building[dropped:]
        self._done = end - dropped
        return found

    def _unmapped(self) -> NDArray[np.bool_]:
        """Give pixels of buildings that the map lacks: far enough from the map's, and wide enough."""
        near = maximum_filter(self._building.view(np.uint8), self._near_px, mode="constant")
        unmapped = (self._probability >= self._threshold) & ~self._building
        thick = minimum_filter((unmapped & (near == 0)).view(np.uint8), self._thick_px, mode="constant")
        # what filters have taken from such a building, it gets back
        whole = maximum_filter(thick, self._thick_px + self._near_px - 1, mode="constant")
        return np.asarray(unmapped & (whole > 0))


class PhantomBuildings:
    """Judges every building of the map."""

    def __init__(self, width: int, transform: Affine, footprints: NDArray[np.object_]) -> None:
        """Begin above the first row.

        Args:
            width: Of the bands.
            transform: Pixel corner (col, row) of the first band to coordinates.
            footprints: (n,) polygons of the map in the CRS of the raster; annotated pixels that none of
                them covers are judged by 4-connected components.
        """
        self._components = _Components(width, transform, missing=False)
        self._transform = transform
        self._footprints = footprints
        self._index = FootprintIndex(footprints)
        self._pixels, self._probability, self._loss = np.zeros((3, len(footprints)))

    def push(self, band: Band) -> list[Suspects]:
        """Look at the next rows; give components that have ended."""
        loss = cross_entropy(band.probability, band.building)
        rows, cols = band.building.shape
        owner = self._index.burn_numbers(
            np.arange(len(self._footprints), dtype=np.int32),
            transform=self._transform @ Affine.translation(0, band.first_row),
            height=rows,
            width=cols,
        )
        owned = band.building & (owner >= 0)
        owners, count = owner[owned], len(self._footprints)
        self._pixels += np.bincount(owners, minlength=count)
        self._probability += np.bincount(owners, band.probability[owned], count)
        self._loss += np.bincount(owners, loss[owned], count)
        return self._components.push(band.building & ~owned, band.probability, loss)

    def finish(self) -> list[Suspects]:
        """Give components that end at the lower border, and the footprints."""
        pixel_area = abs(self._transform.determinant)
        seen = self._pixels * pixel_area >= _LEAST_SEEN * shapely.area(self._footprints)
        pixels = self._pixels[seen]
        judged = Suspects(
            polygons=self._footprints[seen],
            missing=np.zeros(len(pixels), np.bool_),
            mean_probability=self._probability[seen] / pixels,
            loss=self._loss[seen] / pixels,
        )
        return [*self._components.finish(), judged]


def _in_steps(mask: NDArray[np.bool_], values: NDArray[np.float32], highest: float) -> NDArray[np.uint8]:
    """Scale values from 0..`highest` to 0..254 on a mask; 255 off it."""
    steps = np.rint(values * np.float32(_STEPS / highest)).clip(0, _STEPS)
    return np.where(mask, steps, NODATA).astype(np.uint8)
