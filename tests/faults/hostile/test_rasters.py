"""Rasters made to connect, to run code, to show the bytes of other files, or to fill memory: refused."""

import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from buildmap.errors import InputError
from buildmap.raster.reader import RasterReader
from tests.faults.hostile.listener import Listener, listening
from tests.scenes import write_raster

PIXELS = np.ones((64, 64), np.uint8)
Attack = Callable[[Path, str], Path]


def vrt(path: Path, inner: str, attributes: str = "", *, bands: str = "") -> Path:
    path.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"{attributes}>{inner}'
        f'<VRTRasterBand dataType="Byte" band="1"{bands}</VRTRasterBand></VRTDataset>'
        if bands
        else f'<VRTDataset rasterXSize="64" rasterYSize="64"{attributes}>{inner}</VRTDataset>'
    )
    return path


def simple(source: str) -> str:
    inner = f"<SimpleSource>{source}<SourceBand>1</SourceBand></SimpleSource>"
    return f'<VRTRasterBand dataType="Byte" band="1">{inner}</VRTRasterBand>'


def plain(folder: Path) -> Path:
    return write_raster(folder / "a.tif", PIXELS)


def metadata(domain: str, key: str, value: str) -> str:
    return f'<Metadata domain="{domain}"><MDI key="{key}">{value}</MDI></Metadata>'


def beside(suffix: str) -> Attack:
    def attack(folder: Path, name: str) -> Path:
        raster = plain(folder)
        vrt(Path(f"{raster}{suffix}"), simple(f"<SourceFilename>{name}</SourceFilename>"))
        return raster

    return attack


def overviews_in_side_file(folder: Path, name: str) -> Path:
    raster = plain(folder)
    Path(f"{raster}.aux.xml").write_text(
        f"<PAMDataset>{metadata('OVERVIEWS', 'OVERVIEW_FILE', name)}</PAMDataset>"
    )
    return raster


def overviews_inside(folder: Path, name: str, **options: object) -> Path:
    raster = write_raster(folder / "a.tif", PIXELS, **options)
    with rasterio.open(raster, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)
    return raster


def overviews_of_a_mask(folder: Path, name: str) -> Path:
    raster = plain(folder)
    overviews_inside(folder, name).rename(f"{raster}.msk")
    return plain(folder)


def overviews_by_a_local_vrt(folder: Path, name: str) -> Path:
    vrt(folder / "inner.vrt", simple(f"<SourceFilename>{name}</SourceFilename>"))
    raster = plain(folder)
    Path(f"{raster}.aux.xml").write_text(
        f"<PAMDataset>{metadata('OVERVIEWS', 'OVERVIEW_FILE', ':::BASE:::inner.vrt')}</PAMDataset>"
    )
    return raster


def transformer(folder: Path, name: str) -> Path:
    plain(folder)
    keys = {"X_DATASET": name, "Y_DATASET": name, "X_BAND": 1, "Y_BAND": 1, "PIXEL_OFFSET": 0}
    keys |= {"LINE_OFFSET": 0, "PIXEL_STEP": 1, "LINE_STEP": 1}
    items = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in keys.items())
    geo = (
        "<DstGeoTransform>0,1,0,0,0,-1</DstGeoTransform><DstInvGeoTransform>0,1,0,0,0,-1</DstInvGeoTransform>"
    )
    inner = f"<GeoLocTransformer><Reversed>0</Reversed><Metadata>{items}</Metadata></GeoLocTransformer>"
    warp = (
        '<GDALWarpOptions><SourceDataset relativeToVRT="1">a.tif</SourceDataset><Transformer>'
        f"<GenImgProjTransformer><SrcGeoLocTransformer>{inner}</SrcGeoLocTransformer>{geo}"
        '</GenImgProjTransformer></Transformer><BandList><BandMapping src="1" dst="1"/></BandList>'
        "</GDALWarpOptions>"
    )
    band = '<VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/>'
    size = "<BlockXSize>64</BlockXSize><BlockYSize>64</BlockYSize>"
    return vrt(folder / "a.vrt", band + size + warp, ' subClass="VRTWarpedDataset"')


def processing(folder: Path, name: str) -> Path:
    plain(folder)
    arguments = "".join(
        f'<Argument name="{kind}_dataset_filename_1">{name}</Argument>'
        f'<Argument name="{kind}_dataset_band_1">1</Argument>'
        for kind in ("gain", "offset")
    )
    step = f'<Step name="s"><Algorithm>LocalScaleOffset</Algorithm>{arguments}</Step>'
    source = '<Input><SourceFilename relativeToVRT="1">a.tif</SourceFilename></Input>'
    path = folder / "a.vrt"
    steps = f"{source}<ProcessingSteps>{step}</ProcessingSteps>"
    path.write_text(f'<VRTDataset subClass="VRTProcessedDataset">{steps}</VRTDataset>')
    return path


def cached(folder: Path, name: str) -> Path:
    raster = '<Raster><Size x="64" y="64" c="1"/><PageSize x="64" y="64" c="1"/></Raster>'
    path = folder / "a.mrf"
    path.write_text(f"<MRF_META><CachedSource><Source>{name}</Source></CachedSource>{raster}</MRF_META>")
    return path


CONNECTING: dict[str, Attack] = {
    "overviews beside": beside(".ovr"),
    "overviews beside, in capitals": beside(".OVR"),
    "mask beside": beside(".msk"),
    "side file": overviews_in_side_file,
    "side file by a VRT": overviews_by_a_local_vrt,
    "metadata": overviews_inside,
    "metadata of a BigTIFF": lambda folder, name: overviews_inside(folder, name, BIGTIFF="YES"),
    "metadata of a big-endian TIFF": lambda folder, name: overviews_inside(folder, name, ENDIANNESS="BIG"),
    "metadata of a mask": overviews_of_a_mask,
    "VRT, metadata": lambda folder, name: vrt(
        folder / "a.vrt",
        metadata("OVERVIEWS", "OVERVIEW_FILE", name)
        + simple(f'<SourceFilename relativeToVRT="1">{plain(folder).name}</SourceFilename>'),
    ),
    "VRT, name as attribute": lambda folder, name: vrt(
        folder / "a.vrt",
        simple("").replace("<SimpleSource>", f'<SimpleSource SourceFilename="{name}">'),
    ),
    "VRT, name in small letters": lambda folder, name: vrt(
        folder / "a.vrt", simple(f"<sourcefilename>{name}</sourcefilename>")
    ),
    "VRT, transformer": transformer,
    "VRT, processing": processing,
    "cache": cached,
}


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with listening(tmp_path_factory.mktemp("listener")) as listener:
        yield listener


@pytest.mark.parametrize("kind", CONNECTING)
def test_no_file_makes_a_connection(tmp_path: Path, listener: Listener, kind: str) -> None:
    place = kind.replace(" ", "-").replace(",", "")  # GDAL asks for one place once
    raster = CONNECTING[kind](tmp_path, f"/vsicurl/{listener.url}/{place}.tif")
    with pytest.raises(InputError), RasterReader(raster) as reader:  # noqa: PT012 (at any time)
        reader.read(reader.grid.window)
        reader.read(reader.grid.window, out_shape=(8, 8))
    assert listener.heard() == []


def test_gdal_itself_would_connect(tmp_path: Path, listener: Listener) -> None:
    """Proves that the listener hears."""
    with rasterio.open(overviews_inside(tmp_path, f"/vsicurl/{listener.url}/heard.tif")) as dataset:
        dataset.overviews(1)
    assert any("heard.tif" in call for call in listener.heard())
    listener._calls.unlink()


def python(language: str) -> str:
    code = "def f(*_, **__):\n    open('harm', 'w').close()\n"
    return (
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">'
        f"<PixelFunctionType>f</PixelFunctionType>{language}"
        f"<PixelFunctionCode><![CDATA[{code}]]></PixelFunctionCode></VRTRasterBand>"
    )


@pytest.mark.parametrize("language", ["Python", "python"])
def test_no_code_in_a_vrt_runs_whatever_gdal_is_allowed(
    tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    monkeypatch.chdir(tmp_path)
    element = f"<PixelFunctionLanguage>{language}</PixelFunctionLanguage>"
    raster = vrt(tmp_path / "a.vrt", python(element))
    with pytest.raises(InputError, match="holds a program in Python"), RasterReader(raster) as reader:
        reader.read(reader.grid.window)
    assert not (tmp_path / "harm").exists()


def test_the_bytes_of_other_files_are_no_pixels(tmp_path: Path) -> None:
    """GDAL takes any file for raw pixels; buildmap only those beside the VRT."""
    (tmp_path / "secret").write_bytes(b"x" * 5000)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "own.raw").write_bytes(b"x" * 5000)
    for source, is_taken in (("../secret", False), (str(tmp_path / "secret"), False), ("own.raw", True)):
        relative = int(not source.startswith("/"))
        raw = (
            '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
            f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
            "<PixelOffset>1</PixelOffset><LineOffset>64</LineOffset></VRTRasterBand>"
        )
        raster = vrt(tmp_path / "in" / "a.vrt", raw)
        if is_taken:
            with RasterReader(raster) as reader:
                assert (reader.read(reader.grid.window).pixels == ord("x")).all()
        else:
            with pytest.raises(InputError, match=r"takes .*secret for pixels"):
                RasterReader(raster)


def test_a_vrt_under_another_name_is_refused(tmp_path: Path) -> None:
    source = f'<SourceFilename relativeToVRT="1">{plain(tmp_path).name}</SourceFilename>'
    with pytest.raises(InputError, match="is a VRT under another name"):
        RasterReader(vrt(tmp_path / "b.tif", simple(source)))


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE l [<!ENTITY a0 'aaaaaaaaaa'>"
        + "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
        + "]><VRTDataset>&a9;</VRTDataset>",
        "<!DOCTYPE l [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><VRTDataset>&a;</VRTDataset>",
        "<VRTDataset>" * 20_000,
    ],
    ids=["a billion laughs", "external entity", "deep"],
)
def test_bombs_of_xml_are_refused_in_little_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.vrt").write_text(text)
    tracemalloc.start()
    with pytest.raises(InputError, match="not a valid VRT"):
        RasterReader(tmp_path / "a.vrt")
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


def test_a_block_that_is_a_bomb_costs_no_more_than_its_size(tmp_path: Path) -> None:
    """A block of 64 kB that inflates to a gigabyte: GDAL inflates no more than the block has pixels."""
    path = write_raster(tmp_path / "a.tif", PIXELS, compress="deflate")
    bomb = zlib.compress(bytes(2**26), 9)
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        length = int(dataset.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bomb[:length]
    path.write_bytes(content)
    with RasterReader(path) as reader:
        assert reader.read(reader.grid.window).pixels.nbytes == PIXELS.nbytes


def test_gdal_is_not_asked_about_what_is_no_raster(tmp_path: Path) -> None:
    for name, text in (("a.tif", "EEDAI:x"), ("b.tif", "<OGCAPIDataset/>"), ("c.tif", "SIMPLE  = ")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="cannot be read as a raster") as caught:
            RasterReader(tmp_path / name)
        assert isinstance(caught.value.__cause__, RasterioIOError)
