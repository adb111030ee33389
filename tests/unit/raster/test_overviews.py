"""The overview that is read is the coarsest that still has the pixels."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from buildmap.raster.handles import Handles
from buildmap.raster.overviews import Overviews
from tests.scenes import write_raster


@pytest.mark.parametrize(
    ("width", "height", "overview"),
    [
        (407, 301, None),
        (230, 170, None),
        (206, 153, None),
        (204, 151, 0),
        (203, 150, 0),  # half as many, rounded down
        (150, 110, 0),
        (102, 76, 1),
        (5, 5, 1),
        (900, 700, None),
    ],
)
def test_no_overview_coarser_than_wanted_is_chosen(
    tmp_path: Path, width: int, height: int, overview: int | None
) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((301, 407), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    handles = Handles(str(path), title="a", driver="GTiff")
    level = Overviews(handles).choose(width=width, height=height)
    handles.close()
    assert level.overview == overview
    assert level.width == {None: 407, 0: 204, 1: 102}[overview]


def test_an_overview_that_lost_the_mask_is_not_used(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((300, 400), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.average)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(300, 400) > 0)
    handles = Handles(str(path), title="a", driver="GTiff")
    level = Overviews(handles).choose(width=100, height=75)
    flags = handles.get(0).mask_flag_enums == handles.get().mask_flag_enums
    handles.close()
    assert (level.overview == 0) == flags
