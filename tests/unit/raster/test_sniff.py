"""Files that lead GDAL elsewhere are recognized before GDAL reads them."""

from pathlib import Path

import numpy as np
import pytest
from rasterio.shutil import copy

from buildmap.errors import InputError, MissingInput
from buildmap.raster.sniff import sniff
from tests.scenes import write_raster

WMS = "<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service></GDAL_WMS>"


def vrt(path: Path, source: str, *, relative: int = 1) -> Path:
    name = f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{name}</SimpleSource></VRTRasterBand>'
    path.write_text(f'<VRTDataset rasterXSize="9" rasterYSize="9">{band}</VRTDataset>')
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))


def test_a_vrt_of_files_that_are_there_is_taken(raster: Path, tmp_path: Path) -> None:
    copy(raster, tmp_path / "b.vrt", driver="VRT")
    vrt(tmp_path / "c.vrt", "b.vrt")
    vrt(tmp_path / "d.vrt", str(raster), relative=0)
    assert [sniff(tmp_path / f"{name}.vrt") for name in "bcd"] == ["VRT"] * 3
    assert sniff(raster) == "GTiff"


@pytest.mark.parametrize(
    "source",
    [
        "/vsicurl/http://127.0.0.1:9/a.tif",
        "/vsis3/bucket/a.tif",
        "/vsi&#99;url/http://127.0.0.1:9/a.tif",
        "http://127.0.0.1:9/a.tif",
        "WMS:http://127.0.0.1:9",
        "&lt;GDAL_WMS&gt;",
        "/vsizip//vsicurl/http://127.0.0.1:9/a.zip",
    ],
)
def test_a_vrt_that_would_connect_is_refused_however_deep_it_lies(tmp_path: Path, source: str) -> None:
    inner = vrt(tmp_path / "inner.vrt", source, relative=0)
    for path in (inner, vrt(tmp_path / "outer.vrt", "inner.vrt")):
        with pytest.raises(InputError, match=r"inner\.vrt reads from a network"):
            sniff(path)


def test_a_description_of_a_service_is_refused_under_any_name(tmp_path: Path) -> None:
    for name in ("a.tif", "a.xml"):
        (tmp_path / name).write_text(WMS)
        with pytest.raises(InputError, match="lies elsewhere"):
            sniff(tmp_path / name)


def test_a_vrt_without_its_files_of_itself_or_of_bad_xml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"a\.vrt: .*gone\.tif does not exist"):
        sniff(vrt(tmp_path / "a.vrt", "gone.tif"))
    with pytest.raises(InputError, match="reads itself"):
        sniff(vrt(tmp_path / "b.vrt", "b.vrt"))
    (tmp_path / "c.vrt").write_text("<VRTDataset>")
    with pytest.raises(InputError, match="not a valid VRT"):
        sniff(tmp_path / "c.vrt")
