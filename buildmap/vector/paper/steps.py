"""What the steps of the paper's method make, as layers to be looked at."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS

from buildmap.vector.paper.chain import PaperSteps, paper_outlines
from buildmap.vector.paper.kinds import Thresholds
from buildmap.vector.polygons import to_map
from buildmap.vector.writing.layers import GeoPackage

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYERS = ("simplified", "regularized", "final")


class StepsWriter:
    """A GeoPackage with one layer a step, empty ones where there was no footprint.

    Outlines of steps in between may be invalid or empty.
    """

    def __init__(self, path: Path, *, crs: CRS, transform: Affine) -> None:
        """Begin.

        Args:
            path: New file, in a folder of our own: see `publish.staged`.
            crs: Of the layers.
            transform: Pixel corners (col, row) to coordinates (x, y).
        """
        self._package = GeoPackage(path, crs=crs)
        self._transform = transform
        self._count = 0
        self._begun = False

    def write(self, steps: PaperSteps) -> None:
        """Add what the steps made of some footprints.

        Raises:
            StorageError: If the disk is full or fails.
        """
        count = len(steps.final)
        columns: dict[str, NDArray[np.generic]] = {
            "number": np.arange(count, dtype=np.int64) + self._count + 1,
            "kind": steps.kind,
            "curvature": steps.measures.curvature,
            "perimeter_area_ratio": steps.measures.ratio,
            "noise": steps.measures.noise,
            "tolerance_px": steps.tolerance_px,
            "score": steps.score,
            "directions_deg": np.array(
                [" ".join(f"{angle:.2f}" for angle in angles) for angles in steps.directions], np.object_
            ),
            "rolled_back": steps.rolled_back.astype(np.int64),
        }
        for layer in LAYERS:
            placed = to_map(getattr(steps, layer), self._transform)
            self._package.append(layer, np.asarray(shapely.to_wkb(placed), np.object_), columns)
        self._count += count
        self._begun = True

    def finish(self) -> None:
        """Read the number of outlines back.

        Raises:
            StorageError: If the disk fails, or outlines did not arrive.
        """
        if not self._begun:
            nothing = Thresholds(curvature=np.inf, ratio=np.inf, noise=np.inf)
            self.write(paper_outlines(np.empty(0, np.object_), nothing))
        self._package.finish(dict.fromkeys(LAYERS, self._count))
