"""Finding and drawing the ground where predictions are worst."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.cells import FN, FP, Cells
from buildmap.metrics.ground import Ground
from buildmap.metrics.places import densest, draw_place, stretch
from buildmap.metrics.report import Place
from buildmap.metrics.sides import Side, overlap
from buildmap.raster.grid import Grid
from buildmap.raster.reader import RasterReader
from buildmap.raster.warp import WarpedReader, is_same_grid
from buildmap.raster.windows import Window, plan_windows
from buildmap.vector.outlining import lowest_value

_SIDE_PX = 384
_LOOK_PX = 2048


class WorstPlaces:
    """Collects the worst places of all pairs, and draws them while their files are open."""

    def __init__(self, count: int) -> None:
        """Collect none yet.

        Args:
            count: Places kept at most.
        """
        self._count = count
        self._places: list[Place] = []
        self.image: Path | None = None
        """Raster to draw the places of the next pair on."""

    @property
    def places(self) -> tuple[Place, ...]:
        """The worst first."""
        return tuple(self._places)

    def check(self, ground: Ground) -> None:
        """Refuse an image that lies elsewhere before anything is compared.

        Raises:
            InputError: If the image lies elsewhere, or nobody knows where.
        """
        if self.image is not None:
            with RasterReader(self.image) as reader:
                overlap(reader, ground.grid)

    def draw(
        self,
        prediction: Path,
        cells: Cells,
        ground: Ground,
        sides: tuple[Side, Side],
        threshold: float,
    ) -> None:
        """Draw the worst cells of one prediction, as far as they are among the worst of all.

        Args:
            prediction: File, for its name.
            cells: With all pixels counted.
            ground: That was compared.
            sides: Prediction and truth, open.
            threshold: Probability from which a pixel is a building.
        """
        lowest = self._places[-1].wrong_px if len(self._places) == self._count else 0
        for row, col in cells.worst(self._count):
            wrong = int(cells.pixels[row, col, [FP, FN]].sum())
            if wrong <= lowest:
                break
            window = cells.window_of(row, col)
            iou = float(cells.iou()[row, col])
            self._places.append(self._draw(prediction, window, ground, sides, (threshold, wrong, iou)))
        self._places.sort(key=lambda place: -place.wrong_px)
        del self._places[self._count :]

    def _draw(
        self,
        prediction: Path,
        cell: Window,
        ground: Ground,
        sides: tuple[Side, Side],
        told: tuple[float, int, float],
    ) -> Place:
        """Draw the part of a cell where most is wrong."""
        threshold, wrong_px, iou = told
        window = _busiest(cell, ground, sides, threshold)
        masks = _masks(window, ground, sides, threshold)
        image = None if self.image is None else _crop(self.image, ground, window)
        return Place(
            name=prediction.name,
            where=_where(ground.grid.part(window)),
            wrong_px=wrong_px,
            iou=iou,
            picture=draw_place(image, *masks),
        )


def _masks(
    window: Window, ground: Ground, sides: tuple[Side, Side], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Read what is predicted and what is true on the ground that counts."""
    predicted, true = (side.read(window) for side in sides)
    counted = predicted.valid & true.valid & ground.counts(window)
    lowest = lowest_value(threshold)
    return (predicted.values >= lowest) & counted, (true.values >= lowest) & counted


def _busiest(cell: Window, ground: Ground, sides: tuple[Side, Side], threshold: float) -> Window:
    """Find the square of a cell with the most wrong pixels; a large cell is read part by part."""
    most, found = -1, cell
    for plan in plan_windows(width=cell.width, height=cell.height, core_px=_LOOK_PX, halo_px=0):
        left, top = cell.col_off + plan.core.col_off, cell.row_off + plan.core.row_off
        part = replace(plan.core, col_off=left, row_off=top)
        predicted, true = _masks(part, ground, sides, threshold)
        row, col = densest(predicted != true, _SIDE_PX)
        square = (predicted != true)[row : row + _SIDE_PX, col : col + _SIDE_PX]
        if (wrong := int(square.sum())) > most:
            height, width = square.shape
            most = wrong
            found = Window(col_off=left + col, row_off=top + row, width=width, height=height)
    return found


def _where(grid: Grid) -> str:
    left, bottom, right, top = grid.bounds
    crs = "" if grid.crs is None else f" ({grid.crs.to_string()})"
    return f"{(left + right) / 2:.9g}, {(bottom + top) / 2:.9g}{crs}"


def _crop(image: Path, ground: Ground, window: Window) -> NDArray[np.uint8]:
    """Read a picture of some ground, (rows, cols, 3)."""
    with RasterReader(image) as reader:
        bands = reader.bands[:3]
        if is_same_grid(reader.grid, ground.grid):
            read = reader.read(window)
            return stretch(read.pixels, read.valid)
    warped = WarpedReader(image, ground.grid, bands=bands)
    try:
        read = warped.read(window)
    finally:
        warped.close()
    return stretch(read.pixels, read.valid)
