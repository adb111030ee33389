"""Handles: one for each thread, closed together, gone with their threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from buildmap.errors import InputError
from buildmap.raster.handles import Handles
from tests.scenes import write_raster


def test_threads_have_their_own_handles_that_close_together(tmp_path: Path) -> None:
    name = str(write_raster(tmp_path / "a.tif", np.zeros((8, 8), np.uint8)))
    handles, together = Handles(name, title="a", driver="GTiff"), Barrier(3)

    def get(_: int) -> DatasetReader:
        together.wait()
        assert handles.get() is handles.get()
        return handles.get()

    with ThreadPoolExecutor(3) as pool:
        opened = list(pool.map(get, range(3)))
    assert len({id(dataset) for dataset in opened}) == 3
    own = handles.get()  # the pool's threads have ended
    assert [dataset.closed for dataset in opened] == [True] * 3
    handles.close()
    assert own.closed


def test_overviews_have_handles_too(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((80, 81), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.nearest)
    handles = Handles(str(path), title="a", driver="GTiff")
    assert handles.get().shape == (80, 81)
    assert handles.get(0).shape == (40, 41)
    handles.close()


def test_what_cannot_be_opened_is_named() -> None:
    with pytest.raises(InputError, match="my mosaic cannot be read as a raster"):
        Handles("<VRTDataset>", title="my mosaic", driver="VRT").get()
