"""Several rasters as one, against arrays laid over each other."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from buildmap.errors import InputError, MissingInput
from buildmap.raster.mosaic import mosaic
from buildmap.raster.reader import RasterReader
from buildmap.raster.windows import Window
from tests.scenes import ORIGIN, write_raster

RNG = np.random.default_rng(0)
ALPHA = {"photometric": "RGB", "alpha": "yes"}


@pytest.mark.parametrize("kind", ["plain", "nodata", "alpha"])
def test_later_rasters_are_on_top_and_what_they_lack_shows_through(tmp_path: Path, kind: str) -> None:
    expected, known, names = np.zeros((4, 120, 150), np.uint8), np.zeros((120, 150), np.bool_), []
    for number, (row, col) in enumerate([(40, 60), (0, 0), (31, 33)]):  # the first is not the top left one
        pixels = RNG.integers(1, 255, (4, 70, 80), np.uint8)
        valid = np.ones((70, 80), np.bool_) if kind == "plain" else RNG.random((70, 80)) < 0.7
        if kind == "nodata":
            pixels[:, ~valid] = 0
            pixels[0, :9, :9][valid[:9, :9]] = 0  # one band without red is still an image
        if kind == "alpha":
            pixels[3] = 255 * valid
        options = {"plain": {"photometric": "MINISBLACK"}, "alpha": ALPHA}.get(
            kind, {"nodata": 0, "photometric": "MINISBLACK"}
        )
        place = ORIGIN @ Affine.translation(col + 1e-4 * number, row)
        names.append(str(write_raster(tmp_path / f"{number}.tif", pixels, transform=place, **options)))
        cut = np.s_[row : row + 70, col : col + 80]
        expected[:, *cut] = np.where(valid, pixels, expected[:, *cut])
        known[cut] |= valid
    with RasterReader(mosaic(tuple(names)), title="three") as reader:
        image = reader.read(Window(col_off=0, row_off=0, width=140, height=110))
        assert (reader.grid.width, reader.grid.height) == (140, 110)
        assert reader.bands == ((1, 2, 3) if kind == "alpha" else (1, 2, 3, 4))
        assert not reader.has_data(Window(col_off=100, row_off=0, width=20, height=20))
        assert reader.has_data(Window(col_off=70, row_off=0, width=20, height=20))
    np.testing.assert_array_equal(image.valid, known[:110, :140])
    bands = len(reader.bands)
    expected = expected[:bands, :110, :140]
    alike = image.pixels == expected
    if kind == "nodata":  # as with gdalbuildvrt, the value below shows through in each band
        alike |= expected == 0
    assert alike[:, image.valid].all()


def test_all_that_does_not_fit_is_listed_at_once(tmp_path: Path) -> None:
    good = np.zeros((3, 8, 8), np.uint8)
    (tmp_path / "text.tif").write_text("no raster")
    names = [
        write_raster(tmp_path / "a.tif", good),
        write_raster(tmp_path / "b.tif", good[:1]),
        write_raster(tmp_path / "c.tif", good, crs="EPSG:32634"),
        write_raster(tmp_path / "d.tif", good, transform=ORIGIN @ Affine.scale(2)),
        tmp_path / "text.tif",
        tmp_path / "gone.tif",
    ]
    with pytest.raises(InputError) as caught:
        mosaic(tuple(map(str, names)))
    lines = str(caught.value).splitlines()
    assert lines[0] == "5 rasters cannot be used together:"
    for name, fault in {
        "b.tif": "1 x uint8 in EPSG:32633, ",
        "c.tif": "in EPSG:32634, ",
        "d.tif": "another size",
        "text.tif": "cannot be read",
        "gone.tif": "does not exist",
    }.items():
        assert any(name in line and fault in line for line in lines), name


def test_only_missing_files_are_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"gone\.tif does not exist") as caught:
        mosaic(
            (str(write_raster(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))), str(tmp_path / "gone.tif"))
        )
    assert caught.value.hint is None  # to warp it would not help


def test_one_raster_that_does_not_fit_is_told_with_what_mends_it(tmp_path: Path) -> None:
    first = str(write_raster(tmp_path / "a.tif", np.zeros((8, 8), np.uint8)))
    other = str(write_raster(tmp_path / "b.tif", np.zeros((8, 8), np.uint8), crs="EPSG:32634"))
    with pytest.raises(InputError, match=r"b\.tif is 1 x uint8 in EPSG:32634") as caught:
        mosaic((first, other))
    assert str(caught.value.hint).startswith("warp it first: gdalwarp")
    flat = tmp_path / "flat.vrt"
    flat.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>0, 1, 0, 0, 0, 0</GeoTransform>'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{first}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(InputError, match=r"flat\.vrt has pixels without area: \(1\.0, 0\.0, 0\.0,"):
        mosaic((str(flat), first))


def test_names_with_signs_of_xml_work(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (1, 8, 8), np.uint8)
    name = str(write_raster(tmp_path / "a & <ü> 建物.tif", pixels))
    with RasterReader(mosaic((name,)), title=name) as reader:
        np.testing.assert_array_equal(reader.read(reader.grid.window).pixels, pixels)


def test_a_truncated_raster_among_several_is_found_at_once(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (1, 64, 64), np.uint8)
    names = [write_raster(tmp_path / f"{number}.tif", pixels, compress="deflate") for number in range(2)]
    names[1].write_bytes(names[1].read_bytes()[:-500])
    with pytest.raises(InputError, match=r"1\.tif is truncated"):
        mosaic(tuple(map(str, names)))
