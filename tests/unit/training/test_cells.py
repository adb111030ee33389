"""Losses of squares are means over their known pixels, whatever bands the rows come in."""

import numpy as np
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely.geometry import box

from buildmap.raster.grid import Grid
from buildmap.raster.windows import Window
from buildmap.training.cells import CellLosses
from buildmap.training.survey import Band, Surveyed

GRID = Grid(width=200, height=200, transform=Affine(0.5, 0, 0, 0, -0.5, 0), crs=CRS.from_epsg(32633))
GROUND = Surveyed(
    name="town", grid=GRID, window=Window(col_off=10, row_off=20, width=70, height=50), sources=()
)


@given(
    seed=st.integers(0, 1000), heights=st.lists(st.integers(1, 30), max_size=4), cell_px=st.integers(1, 90)
)
def test_squares_hold_the_mean_over_their_known_pixels(seed: int, heights: list[int], cell_px: int) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.random((50, 70)).astype(np.float32)
    building, known = rng.random((2, 50, 70)) < 0.3
    cells = CellLosses(GROUND, cell_px=cell_px)
    first = 0
    for height in [*heights, 50]:
        rows = slice(first, first + height)
        if first < 50:
            cells.push(
                Band(
                    first_row=first, probability=probability[rows], building=building[rows], known=known[rows]
                )
            )
        first += height
    layer = cells.layer()
    loss = -np.log(np.where(building, probability, 1 - probability))
    expected = []
    for top in range(0, 50, cell_px):
        for left in range(0, 70, cell_px):
            square = slice(top, top + cell_px), slice(left, left + cell_px)
            if known[square].any():
                right, bottom = min(left + cell_px, 70), min(top + cell_px, 50)
                outline = box(5 + left / 2, -10 - bottom / 2, 5 + right / 2, -10 - top / 2)
                mean = loss[square][known[square]].mean()
                expected.append((outline, mean, known[square].sum() / cell_px**2))
    assert len(layer.polygons) == len(expected)
    for number, (outline, mean, share) in enumerate(expected):
        assert shapely.equals(layer.polygons[number], outline)
        np.testing.assert_allclose(layer.columns["loss"][number], mean, rtol=1e-4)
        np.testing.assert_allclose(layer.columns["known_share"][number], share)
    assert set(layer.columns["source"]) == {"town"}
