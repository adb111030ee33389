"""Facts of a raster are those that were written."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.io import netcdf_file

from buildmap.errors import InputError, MissingInput
from buildmap.raster.about import read_raster_facts
from tests.scenes import ORIGIN, UTM, write_raster


def test_what_was_written_is_told(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((2, 3, 5), np.int16), nodata=-1)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(BUILDMAP="made", TIFFTAG_DATETIME="2024:06:30 12:00:00")
    facts = read_raster_facts(path)
    assert (facts.format, facts.bands, facts.dtype, facts.nodata) == ("GTiff", 2, "int16", -1)
    assert (facts.grid.width, facts.grid.height, facts.grid.transform) == (5, 3, ORIGIN)
    assert str(facts.grid.crs) == UTM
    assert (facts.made, facts.date) == ("made", "2024-06-30")


def test_what_was_not_written_is_none(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 5), np.uint8), crs=None)
    facts = read_raster_facts(path)
    assert (facts.made, facts.date, facts.nodata, facts.grid.crs) == (None, None, None, None)


def test_what_is_no_raster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput):
        read_raster_facts(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"text\.tif cannot be read as a raster"):
        read_raster_facts(tmp_path / "text.tif")
    with netcdf_file(tmp_path / "two.nc", "w") as container:
        container.createDimension("y", 2)
        container.createDimension("x", 3)
        for name in ("height", "roofs"):
            container.createVariable(name, "f4", ("y", "x"))[:] = 0
    with pytest.raises(InputError, match=r"two\.nc has no raster bands") as caught:
        read_raster_facts(tmp_path / "two.nc")
    assert str(caught.value.hint).endswith("two.nc:height")
