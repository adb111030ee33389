"""Finding and drawing the ground where predictions are worst."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from buildmap.metrics.cells import FN, FP, Cells
from buildmap.metrics.ground import Ground
from buildmap.metrics.places import densest, draw_place, stretch
from buildmap.metrics.report import Place
from buildmap.metrics.sides import Side, lowest_true, overlap
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
        self._pairs = 0
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
        pixel_m = _pixel_m(ground.grid)
        lowest = _wrong_ground(self._places[-1]) if len(self._places) == self._count else 0
        for row, col in cells.worst(self._count):
            wrong = int(cells.pixels[row, col, [FP, FN]].sum())
            place = Place(
                name=prediction.name,
                pair=self._pairs,
                cell=(row, col),
                where="",
                wrong_px=wrong,
                wrong_m2=wrong * pixel_m**2,
                iou=float(cells.iou()[row, col]),
                picture=np.empty((0, 0, 3), np.uint8),
                width_m=math.nan,
            )
            if _wrong_ground(place) <= lowest:
                break
            window = _busiest(cells.window_of(row, col), ground, sides, threshold)
            self._places.append(self._draw(place, _squared(window, ground.window), ground, sides, threshold))
        self._pairs += 1
        self._places.sort(key=lambda place: -_wrong_ground(place))
        del self._places[self._count :]

    def _draw(
        self, place: Place, window: Window, ground: Ground, sides: tuple[Side, Side], threshold: float
    ) -> Place:
        """Draw a place as it looks in a window."""
        image = None if self.image is None else _crop(self.image, ground, window)
        return replace(
            place,
            where=_where(ground.grid.part(window)),
            picture=draw_place(image, *_masks(window, ground, sides, threshold)),
            width_m=window.width * _pixel_m(ground.grid),
        )


def _pixel_m(grid: Grid) -> float:
    """Give the side of a pixel on the ground, NaN where nobody knows."""
    gsd_m = grid.gsd_m()
    return math.nan if gsd_m is None else gsd_m


def _wrong_ground(place: Place) -> float:
    """Give how bad a place is: pixels of several maps may be of several sizes, their ground compares."""
    return place.wrong_px if math.isnan(place.wrong_m2) else place.wrong_m2


def _squared(window: Window, within: Window) -> Window:
    """Widen a window to a square as far as there is ground: a cell on the border may be a sliver."""
    side = max(window.width, window.height)
    width, height = min(side, within.width), min(side, within.height)
    col_off = min(max(window.col_off, within.col_off), within.col_off + within.width - width)
    row_off = min(max(window.row_off, within.row_off), within.row_off + within.height - height)
    return Window(col_off=col_off, row_off=row_off, width=width, height=height)


def _masks(
    window: Window, ground: Ground, sides: tuple[Side, Side], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Read what is predicted and what is true on the ground that counts."""
    predicted, true = (side.read(window) for side in sides)
    counted = predicted.valid & true.valid & ground.counts(window)
    lowest = lowest_value(threshold)
    return (predicted.values >= lowest) & counted, (true.values >= lowest_true(lowest)) & counted


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
