"""What GDAL reads with a raster without being asked is found, in every kind of TIFF."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from buildmap.raster.beside import files_beside, leading_names, named_in_metadata
from tests.scenes import write_raster

PIXELS = np.zeros((9, 9), np.uint8)
NET = "/vsicurl/http://127.0.0.1:9/a.tif"


def test_overviews_and_masks_are_found_whatever_their_capitals(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", PIXELS)
    assert files_beside(raster) == []
    for suffix in ("ovr", "MSK"):
        Path(f"{raster}.{suffix}").touch()
    assert [side.name for side in files_beside(raster)] == ["a.tif.ovr", "a.tif.MSK"]


@pytest.mark.parametrize("options", [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}], ids=["", "big", "MM"])
def test_names_in_the_metadata_of_a_tiff_are_those_that_rasterio_wrote(
    tmp_path: Path, options: dict[str, str]
) -> None:
    raster = write_raster(tmp_path / "a.tif", PIXELS, **options)
    head = raster.read_bytes()[:2]
    assert list(named_in_metadata(raster, head)) == []
    with rasterio.open(raster, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=NET)
        dataset.update_tags(title="http://127.0.0.1:9 is no raster")
    assert list(named_in_metadata(raster, head)) == [NET]


def test_names_beside_a_raster_start_in_its_folder_where_gdal_says_so(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", PIXELS)
    items = "".join(
        f'<MDI key="{key}">{value}</MDI>'
        for key, value in (("OVERVIEW_FILE", ":::BASE:::b.tif"), ("X_DATASET", "/c.tif"), ("Z", NET))
    )
    Path(f"{raster}.aux.xml").write_text(f"<PAMDataset><Metadata>{items}</Metadata></PAMDataset>")
    assert list(named_in_metadata(raster, b"II")) == [tmp_path / "b.tif", Path("/c.tif")]


@pytest.mark.parametrize("cut", [3, 7, 9, 60])
def test_a_tiff_that_is_cut_off_has_no_metadata(tmp_path: Path, cut: int) -> None:
    raster = write_raster(tmp_path / "a.tif", PIXELS)
    raster.write_bytes(raster.read_bytes()[:cut])
    assert list(named_in_metadata(raster, b"II")) == []


def test_keys_are_understood_in_any_letters() -> None:
    root = ElementTree.fromstring('<a><MDI key="Overview_File"> b </MDI><Item name="Y_DATASET"/></a>')
    assert list(leading_names(root)) == ["b", ""]
