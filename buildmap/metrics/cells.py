"""Where a map is right: pixels, buildings and areas per square cell of ground.

Cells are aligned to pixel (0, 0) of the grid, so that the cells of one raster are the same whatever part
of it is compared; those at the border of the compared window are seen in part. One takes 52 bytes: a
country of 1000 km x 1000 km in cells of 500 m takes 208 MB.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from buildmap.raster.windows import Window
from buildmap.vector.matching import Matches

TP, FP, FN, TN = 0, 1, 2, 3
"""Last axis of `Cells.pixels` and, without `TN`, of `Cells.objects`."""
TRUE, PREDICTED = 0, 1
"""Last axis of `Cells.buildings` and `Cells.area_dm2`."""

_STEPS_PER_M2 = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The buildings of one side, each at the pixel of a point inside it."""

    rows: NDArray[np.int64]
    """(n,) of the grid."""
    cols: NDArray[np.int64]
    """(n,) of the grid."""
    area_m2: NDArray[np.float64]
    """(n,) on the ground; NaN where unknown."""
    counted: NDArray[np.bool_]
    """(n,) True = lies on the ground that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDifferences:
    """How far the buildings of cells are from the truth, as sums of whole numbers."""

    cells: int = 0
    """Cells with any counted pixel."""
    count_off: int = 0
    """Sum of |predicted - true| buildings."""
    count_more: int = 0
    """Sum of predicted - true buildings."""
    count_squared: int = 0
    """Sum of (predicted - true) squared."""
    area_off_dm2: int = 0
    """Sum of |predicted - true| area, in square decimetres."""
    area_more_dm2: int = 0
    """Sum of predicted - true area."""
    area_squared_dm4: int = 0
    """Sum of (predicted - true area) squared."""
    area_known: bool = True
    """False where the area of a building is unknown."""

    def __add__(self, other: "CellDifferences") -> "CellDifferences":
        return CellDifferences(
            cells=self.cells + other.cells,
            count_off=self.count_off + other.count_off,
            count_more=self.count_more + other.count_more,
            count_squared=self.count_squared + other.count_squared,
            area_off_dm2=self.area_off_dm2 + other.area_off_dm2,
            area_more_dm2=self.area_more_dm2 + other.area_more_dm2,
            area_squared_dm4=self.area_squared_dm4 + other.area_squared_dm4,
            area_known=self.area_known and other.area_known,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellErrors:
    """How far the number and the area of buildings are from the truth, per cell of ground."""

    cell_m: float
    """Side of a cell."""
    cells: int
    """Cells with any counted pixel; the errors are means over them."""
    count_mae: float
    """Mean of |predicted - true| buildings."""
    count_bias: float
    """Mean of predicted - true buildings: above 0, the map has too many."""
    count_rmse: float
    """Root of the mean square of predicted - true buildings."""
    area_mae_m2: float
    """Mean of |predicted - true| area; as the two below, NaN where areas are unknown."""
    area_bias_m2: float
    """Mean of predicted - true area."""
    area_rmse_m2: float
    """Root of the mean square of predicted - true area."""


@dataclass(slots=True, kw_only=True, eq=False)
class Cells:
    """Counts per cell of one compared window; the methods that add change them in place."""

    window: Window
    """What is compared, of the grid."""
    cell_px: int
    """Side of a cell."""
    pixels: NDArray[np.integer]
    """(rows, cols, 4) true positive, false positive, false negative, true negative pixels."""
    buildings: NDArray[np.int32]
    """(rows, cols, 2) true and predicted buildings that count, by a point inside each."""
    area_dm2: NDArray[np.int64]
    """(rows, cols, 2) their areas in square decimetres."""
    objects: NDArray[np.int32]
    """(rows, cols, 3) buildings found, invented, missed."""
    area_known: bool = True
    """False once a building of unknown area was added."""

    @classmethod
    def empty(cls, window: Window, cell_px: int) -> "Cells":
        """Lay cells of `cell_px` x `cell_px` pixels over a window of the grid.

        Raises:
            ValueError: If a cell has no pixel.
        """
        if cell_px < 1:
            raise ValueError(f"a cell of {cell_px} pixels")
        rows = (window.row_off + window.height - 1) // cell_px - window.row_off // cell_px + 1
        cols = (window.col_off + window.width - 1) // cell_px - window.col_off // cell_px + 1
        fits = cell_px**2 <= np.iinfo(np.int32).max
        return cls(
            window=window,
            cell_px=cell_px,
            pixels=np.zeros((rows, cols, 4), np.int32 if fits else np.int64),
            buildings=np.zeros((rows, cols, 2), np.int32),
            area_dm2=np.zeros((rows, cols, 2), np.int64),
            objects=np.zeros((rows, cols, 3), np.int32),
        )

    @property
    def first(self) -> tuple[int, int]:
        """Row and column of the upper left cell, counted from the cell at pixel (0, 0) of the grid."""
        return self.window.row_off // self.cell_px, self.window.col_off // self.cell_px

    def add_pixels(self, counts: NDArray[np.int64], first_row: int, first_col: int) -> None:
        """Add the pixels of a block, as `histogram.count_by_cell` gives them.

        Args:
            counts: (rows, cols, 4) pixels per cell; no pixel may come twice.
            first_row: Row of the upper left cell, counted from the cell at pixel (0, 0) of the grid.
            first_col: Its column.

        Raises:
            ValueError: If a cell lies outside the compared window.
        """
        row, col = first_row - self.first[0], first_col - self.first[1]
        part = self.pixels[row : row + counts.shape[0], col : col + counts.shape[1]]
        if min(row, col) < 0 or part.shape != counts.shape:
            raise ValueError(f"cells {counts.shape} from ({first_row}, {first_col}) leave {self.window}")
        part += counts

    def add_buildings(self, prediction: Placed, truth: Placed, matches: Matches) -> None:
        """Add the buildings of both sides: how many, how large, and how many were found.

        A pair counts where its true building does, and in its cell, as `instances.count_instances` says.

        Args:
            prediction: Left in `matches`.
            truth: Right in `matches`.
            matches: One to one, of all buildings.

        Raises:
            ValueError: If a building that counts lies outside the compared window.
        """
        invented, missed = prediction.counted.copy(), truth.counted.copy()
        invented[matches.left] = False
        missed[matches.right] = False
        found = np.zeros(len(truth.counted), np.bool_)
        found[matches.right] = truth.counted[matches.right]
        for side, axis in ((truth, TRUE), (prediction, PREDICTED)):
            place = self._cells_of(side, side.counted)
            np.add.at(self.buildings[..., axis], place, 1)
            area_dm2 = side.area_m2[side.counted] * _STEPS_PER_M2
            known = np.isfinite(area_dm2)
            self.area_known &= bool(known.all())
            steps = np.rint(np.where(known, area_dm2, 0)).astype(np.int64)
            np.add.at(self.area_dm2[..., axis], place, steps)
        for side, kept, axis in ((truth, found, TP), (prediction, invented, FP), (truth, missed, FN)):
            np.add.at(self.objects[..., axis], self._cells_of(side, kept), 1)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(rows, cols) True = has any counted pixel."""
        return np.asarray(self.pixels.any(axis=-1))

    def pixel_counts(self) -> NDArray[np.int64]:
        """Give (n, 3) true positive, false positive and false negative pixels of all counted cells."""
        return self.pixels[self.counted][:, :TN].astype(np.int64)

    def object_counts(self) -> NDArray[np.int64]:
        """Give (n, 3) buildings found, invented and missed of all counted cells."""
        return self.objects[self.counted].astype(np.int64)

    def iou(self) -> NDArray[np.float64]:
        """Give (rows, cols) intersection over union of the pixels; NaN where neither side has a building."""
        union = self.pixels[..., :TN].sum(axis=-1)
        none = np.full(union.shape, np.nan)
        return np.asarray(np.divide(self.pixels[..., TP], union, out=none, where=union > 0))

    def worst(self, count: int) -> list[tuple[int, int]]:
        """Name the cells with the most wrong pixels by (row, col), the worst first, none without any.

        Of equal cells the upper goes first, then the one further left.
        """
        wrong = (self.pixels[..., FP] + self.pixels[..., FN]).ravel()
        order = np.argsort(-wrong, kind="stable")[:count]
        rows, cols = np.unravel_index(order[wrong[order] > 0], self.pixels.shape[:2])
        return list(zip(rows.tolist(), cols.tolist(), strict=True))

    def window_of(self, row: int, col: int) -> Window:
        """Give the pixels of a cell that lie in the compared window."""
        top, left = (self.first[0] + row) * self.cell_px, (self.first[1] + col) * self.cell_px
        bottom = min(top + self.cell_px, self.window.row_off + self.window.height)
        right = min(left + self.cell_px, self.window.col_off + self.window.width)
        top, left = max(top, self.window.row_off), max(left, self.window.col_off)
        return Window(col_off=left, row_off=top, width=right - left, height=bottom - top)

    def differences(self) -> CellDifferences:
        """Sum up how far the cells with any counted pixel are from the truth."""
        counted = self.counted
        buildings, area_dm2 = self.buildings[counted].astype(np.int64), self.area_dm2[counted]
        more = buildings[:, PREDICTED] - buildings[:, TRUE]
        more_dm2 = area_dm2[:, PREDICTED] - area_dm2[:, TRUE]
        return CellDifferences(
            cells=len(more),
            count_off=int(np.abs(more).sum()),
            count_more=int(more.sum()),
            count_squared=_sum_of_squares(more),
            area_off_dm2=int(np.abs(more_dm2).sum()),
            area_more_dm2=int(more_dm2.sum()),
            area_squared_dm4=_sum_of_squares(more_dm2),
            area_known=self.area_known,
        )

    def _cells_of(self, side: Placed, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give row and column of the cells of some buildings."""
        rows, cols = side.rows[kept], side.cols[kept]
        down, right = rows - self.window.row_off, cols - self.window.col_off
        if ((down < 0) | (down >= self.window.height) | (right < 0) | (right >= self.window.width)).any():
            raise ValueError(f"a building that counts lies outside {self.window}")
        return rows // self.cell_px - self.first[0], cols // self.cell_px - self.first[1]


def cell_size_px(gsd_m: float, cell_m: float) -> int:
    """Give the side of a cell in whole pixels, at least one."""
    return max(round(cell_m / gsd_m), 1)


def cell_errors(differences: CellDifferences, *, cell_m: float) -> CellErrors:
    """Compute mean errors from sums over cells; NaN over no cell.

    Args:
        differences: Of one compared window, or the sum over many.
        cell_m: Side of a cell, passed on.
    """
    cells = differences.cells or math.nan
    cells_m2 = cells * _STEPS_PER_M2 if differences.area_known else math.nan
    return CellErrors(
        cell_m=cell_m,
        cells=differences.cells,
        count_mae=differences.count_off / cells,
        count_bias=differences.count_more / cells,
        count_rmse=math.sqrt(differences.count_squared / cells),
        area_mae_m2=differences.area_off_dm2 / cells_m2,
        area_bias_m2=differences.area_more_dm2 / cells_m2,
        area_rmse_m2=math.sqrt(differences.area_squared_dm4 / (cells_m2 * _STEPS_PER_M2)),
    )


def _sum_of_squares(differences: NDArray[np.int64]) -> int:
    """Sum squares exactly: those of areas, over a country, need more than 64 bits."""
    values, times = np.unique(np.abs(differences), return_counts=True)
    return sum(value**2 * count for value, count in zip(values.tolist(), times.tolist(), strict=True))
