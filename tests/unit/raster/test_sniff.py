"""Files that lead GDAL elsewhere are recognized before GDAL reads them."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.shutil import copy

from buildmap.errors import InputError, MissingInput
from buildmap.raster.sniff import files_of, sniff
from tests.scenes import UTM, write_raster

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


def test_names_that_a_user_types_may_lead_anywhere(tmp_path: Path) -> None:
    for name in (
        "/vsicurl/http://127.0.0.1:9//a.tif",
        "/vsis3/bucket//a.tif",
        "GTI:/vsicurl/http://h/i.gpkg",
    ):
        assert sniff(name) == ("GTI" if name.startswith("GTI") else None)
    assert sniff(f"NETCDF:{tmp_path}/a.nc:red") is None
    with pytest.raises(MissingInput):
        sniff(str(tmp_path / "gone.tif"))


def tile_index(path: Path, *names: str, column: str = "location") -> Path:
    """Write a tile index, all of whose rasters cover one square."""
    square = shapely.to_wkb(np.array([shapely.box(0, 0, 9, 9)] * len(names)))
    fields = [np.array(names, object)]
    pyogrio.raw.write(str(path), square, fields, [column], geometry_type="Polygon", crs=UTM, driver="GPKG")
    return path


@pytest.mark.parametrize("form", ["{}", "GTI:{}", "xml"])
def test_a_tile_index_that_would_connect_is_refused(raster: Path, tmp_path: Path, form: str) -> None:
    for number, name in enumerate([str(raster), "/vsicurl/http://127.0.0.1:9/a.tif"]):
        index = tile_index(tmp_path / f"{number}.gti.gpkg", str(raster), name)
        typed = form.format(index)
        if form == "xml":
            inner = f"<IndexDataset>{index}</IndexDataset><LocationField>location</LocationField>"
            (tmp_path / "a.gti").write_text(f"<GDALTileIndexDataset>{inner}</GDALTileIndexDataset>")
            typed = str(tmp_path / "a.gti")
        if number == 0:
            assert sniff(typed) == "GTI"
            assert raster in files_of(typed)
            assert index in files_of(typed)
        else:
            with pytest.raises(InputError, match="reads from a network: /vsicurl"):
                sniff(typed)


def test_an_index_elsewhere_without_names_or_of_bad_xml_is_refused(raster: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gti").write_text("<GDALTileIndexDataset><IndexDataset>")
    with pytest.raises(InputError, match="not a valid tile index"):
        sniff(tmp_path / "a.gti")
    inner = "<IndexDataset>/vsicurl/http://127.0.0.1:9/i.gpkg</IndexDataset>"
    (tmp_path / "b.gti").write_text(f"<GDALTileIndexDataset>{inner}</GDALTileIndexDataset>")
    with pytest.raises(InputError, match="reads from a network"):
        sniff(tmp_path / "b.gti")
    with pytest.raises(InputError, match="has no column named location"):
        sniff(tile_index(tmp_path / "c.gti.gpkg", str(raster), column="other"))
    with pytest.raises(MissingInput):
        sniff(f"GTI:{tmp_path}/gone.gpkg")


def test_the_files_of_a_vrt_are_all_it_reads(raster: Path, tmp_path: Path) -> None:
    inner = vrt(tmp_path / "inner.vrt", raster.name)
    outer = vrt(tmp_path / "outer.vrt", "inner.vrt")
    assert files_of(outer) == [outer, inner, raster]
    assert files_of("/vsicurl/http://127.0.0.1:9/a.tif") == []


def test_a_zarr_folder_is_for_its_own_driver(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    assert sniff(tmp_path / "a.zarr") == "Zarr"
