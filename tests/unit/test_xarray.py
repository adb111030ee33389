"""A lazy DataArray holds what `buildmap predict` stores, and computes no more than is asked for."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely import box

import buildmap.xarray
from buildmap.errors import InputError, MismatchError, MissingInput, ResourceError
from buildmap.inference.options import Prediction
from buildmap.predict import predict as predict_raster
from buildmap.raster.reader import RasterReader
from buildmap.xarray import Options, predict
from tests.networks import make_card, write_onnx
from tests.scenes import ORIGIN, UTM, write_layer, write_raster

xarray = pytest.importorskip("xarray")
rioxarray = pytest.importorskip("rioxarray")
dask = pytest.importorskip("dask.array")
cloudpickle = pytest.importorskip("cloudpickle")
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")  # rioxarray's


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("model") / "m.onnx", kernel_px=5)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, NDArray[np.uint8]]:
    """Write a raster, and give what the command line stores of it."""
    raster = scene(tmp_path_factory.mktemp("mapped") / "in.tif")
    return raster, stored(raster, model)


def scene(path: Path, gsd_m: float = 0.5) -> Path:
    """Write four bands of an odd size, in one hole of which the fourth still has data."""
    pixels = RNG.integers(1, 255, (4, 291, 157), np.uint8)
    pixels[:, 100:150, 30:120] = 0
    pixels[:3, 200:220, 30:120] = 0
    transform = Affine(gsd_m, 0, 400_000, 0, -gsd_m, 5_000_000)
    return write_raster(path, pixels, nodata=0, transform=transform, photometric="minisblack")


def stored(raster: Path, model: Path | tuple[Path, ...], **options: Any) -> NDArray[np.uint8]:
    """Give what the command line would store."""
    output = raster.with_name("out.tif")
    models = model if isinstance(model, tuple) else (model,)
    output.unlink(missing_ok=True)
    predict_raster(str(raster), output, Prediction(models=models, **options))
    with rasterio.open(output) as dataset:
        pixels: NDArray[np.uint8] = dataset.read(1)
    return pixels


def test_any_chunk_in_any_order_holds_what_predict_stores(
    mapped: tuple[Path, NDArray[np.uint8]], model: Path
) -> None:
    raster, expected = mapped
    with rioxarray.open_rasterio(raster, chunks={"band": 3, "y": 40, "x": 90}) as array:
        made = predict(array, model)
        assert (made.dtype, made.shape, made.dims) == (np.uint8, expected.shape, ("y", "x"))
        heights = made.chunks[0]
        starts = [0, *np.cumsum(heights)]
        for index in (3, 0, 2, 1):
            chunk = made.data.blocks[index].compute(scheduler="synchronous")
            np.testing.assert_array_equal(chunk, expected[starts[index] : starts[index + 1]])
        np.testing.assert_array_equal(made.compute(scheduler="threads", num_workers=3), expected)
    assert len(heights) == 4
    assert 0.05 < (expected == 255).mean() < 0.2


def test_fine_pixels_are_averaged_as_predict_does(tmp_path: Path, model: Path) -> None:
    raster = scene(tmp_path / "in.tif", 0.2)
    with rioxarray.open_rasterio(raster, chunks={"y": 64, "x": 64}) as array:
        np.testing.assert_array_equal(predict(array, model), stored(raster, model))


def test_coarse_pixels_windows_and_bands_are_what_predict_makes_of_them(tmp_path: Path, model: Path) -> None:
    raster = scene(tmp_path / "in.tif", 0.77)
    options: Options = {"bands": (3, 1, 4), "halo_px": 16, "window_px": 96}
    with rioxarray.open_rasterio(raster, chunks={"y": 100}) as array:
        made = predict(array, model, **options)
        assert len(made.chunks[0]) == 6
        np.testing.assert_array_equal(made, stored(raster, model, **options))
        assert predict(array, model, resample=False).shape == (291, 157)


def test_a_process_that_gets_it_computes_the_same(
    tmp_path: Path, mapped: tuple[Path, NDArray[np.uint8]], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    with rioxarray.open_rasterio(mapped[0], chunks={"y": 100}) as array:
        packed = cloudpickle.dumps(predict(array, model.name)[5:170, 20:90])
    buildmap.xarray._network.cache_clear()
    monkeypatch.chdir(tmp_path)
    made = cloudpickle.loads(packed).compute(scheduler="synchronous")
    np.testing.assert_array_equal(made, mapped[1][5:170, 20:90])
    assert len(packed) < 60_000  # what is known of the raster, and not its pixels


class Counted:
    """An array of 400 x 160 pixels in chunks of 50 rows that tells which were computed."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        lazy = dask.map_blocks(
            self._chunk, chunks=((3,), (50,) * 8, (160,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
        )
        array = xarray.DataArray(lazy, dims=("band", "y", "x"), name="roofs")
        self.array = array.rio.write_crs(UTM).rio.write_transform(ORIGIN)

    def _chunk(self, block_id: tuple[int, int, int]) -> NDArray[np.uint8]:
        self.rows.append(block_id[1])
        return np.full((3, 50, 160), 20 * block_id[1], np.uint8)

    def computed(self) -> list[int]:
        rows, self.rows = self.rows, []
        return sorted(rows)


def test_nothing_is_computed_before_it_is_asked_for_and_then_only_what_lies_under_it(model: Path) -> None:
    counted = Counted()
    made = predict(counted.array, model)
    assert counted.computed() == []
    # Windows of 128 with a halo of 32: cores of 64, the first and the last larger by the halo. A chunk ends
    # half a ramp of 32 below its core, and needs the windows of its own strip and those of the next.
    assert made.chunks == ((112, 64, 64, 64, 64, 32), (160,))
    made.data.blocks[0].compute(scheduler="synchronous")
    assert counted.computed() == [0, 1, 2, 3]  # rows 0 to 192
    made[300:301, 7:9].compute(scheduler="synchronous")
    assert counted.computed() == [3, 4, 5, 6, 7]  # 192 to 384
    made.data.blocks[5].compute(scheduler="synchronous")
    assert counted.computed() == [6, 7]  # 320 to 400
    made.compute(scheduler="threads")
    assert counted.computed() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_more_rows_in_a_strip_are_fewer_chunks_of_the_same(model: Path) -> None:
    counted = Counted()
    few = predict(counted.array, model, rows_per_strip=4)
    assert few.chunks[0] == (304, 96)
    np.testing.assert_array_equal(few, predict(counted.array, model))


def test_an_array_that_is_not_dask_s_is_read_a_strip_at_a_time(
    mapped: tuple[Path, NDArray[np.uint8]], model: Path
) -> None:
    with rioxarray.open_rasterio(mapped[0]) as array:
        made = predict(array, model)
        assert made.chunks is not None
        np.testing.assert_array_equal(made, mapped[1])
        assert not array.variable._in_memory
        np.testing.assert_array_equal(predict(array.load(), model), mapped[1])


def test_an_area_and_a_box_limit_what_is_computed(tmp_path: Path, model: Path) -> None:
    raster = scene(tmp_path / "in.tif")
    two = [box(400_021, 4_999_900, 400_030, 4_999_920), box(400_040, 4_999_980, 400_050, 4_999_990)]
    aoi = write_layer(tmp_path / "aoi.gpkg", two)
    bbox = (400_021.2, 4_999_900, 400_060, 4_999_990.3)
    with rioxarray.open_rasterio(raster, chunks={"y": 50}) as array:
        inside, whole = predict(array, model, aoi=aoi), predict(array, model, bbox=bbox)
        np.testing.assert_array_equal(inside, stored(raster, model, aoi=aoi))
        np.testing.assert_array_equal(whole, stored(raster, model, bbox=bbox))
    assert whole.rio.bounds() == (400_016, 4_999_900, 400_060, 4_999_992)  # from a multiple of the stride on


def test_nothing_is_computed_where_nothing_is_wanted(tmp_path: Path, model: Path) -> None:
    counted = Counted()
    far = [box(400_001, 4_999_990, 400_010, 5_000_000), box(400_001, 4_999_800, 400_010, 4_999_805)]
    made = predict(counted.array, model, aoi=write_layer(tmp_path / "aoi.gpkg", far))
    assert made.shape == (400, 20)
    assert (made[180:250].compute(scheduler="synchronous") == 255).all()
    assert counted.computed() == []


def test_it_says_of_itself_what_the_raster_says(
    tmp_path: Path, mapped: tuple[Path, NDArray[np.uint8]], model: Path
) -> None:
    with (
        rioxarray.open_rasterio(mapped[0], chunks={"y": 100}) as array,
        rioxarray.open_rasterio(mapped[0].with_name("out.tif")) as expected,
    ):
        array.attrs["TIFFTAG_DATETIME"] = "2024:05:06 00:00:00"
        made = predict(array, model)
        xarray.testing.assert_equal(made.y, expected.y)
        xarray.testing.assert_equal(made.x, expected.x)
        assert made.rio.crs == expected.rio.crs
        assert made.rio.transform() == expected.rio.transform()
        assert made.rio.nodata == expected.rio.nodata == 255
        same = ("long_name", "scale_factor", "add_offset", "_FillValue")
        assert {key: made.attrs[key] for key in same} == {key: expected.attrs[key] for key in same}
        ours, theirs = (json.loads(one.attrs["BUILDMAP"]) for one in (made, expected))
        fingerprints = {one.pop("source_fingerprint") for one in (ours, theirs)}
        assert ours == theirs
        assert {len(one) for one in fingerprints} == {16}
        made.rio.to_raster(tmp_path / "again.tif")
        assert int(predict(array.assign_coords(time=7), model).time) == 7
    with RasterReader(tmp_path / "again.tif") as again:
        assert (again.scale, again.nodata, again.date) == (1 / 254, 255, "2024-05-06")


def test_a_turned_array_keeps_its_transform_and_gets_no_coordinates(model: Path) -> None:
    turned = Affine(0.4, 0.3, 400_000, 0.3, -0.4, 5_000_000)
    values = RNG.integers(0, 255, (3, 50, 60), np.uint8)
    plain = xarray.DataArray(values, dims=("band", "northing", "easting"))
    array = plain.rio.set_spatial_dims(x_dim="easting", y_dim="northing").rio.write_crs(UTM)
    made = predict(array.rio.write_transform(turned), model)
    assert made.rio.transform() == turned
    assert made.dims == ("northing", "easting")
    assert set(made.coords) == {"spatial_ref"}


def test_an_array_without_a_place_is_predicted_pixel_by_pixel(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = predict(xarray.DataArray(np.full((3, 40, 50), 200, np.uint8), dims=("band", "y", "x")), model)
    assert "DataArray has no CRS: predicted pixel by pixel" in caplog.text
    assert made.rio.crs is None
    assert made.shape == (40, 50)
    assert (made > 200).all()


def test_models_and_views_are_averaged_as_predict_does(tmp_path: Path, model: Path) -> None:
    raster = scene(tmp_path / "in.tif")
    models = (model, write_onnx(tmp_path / "n.onnx", make_card(threshold=0.7)))
    with rioxarray.open_rasterio(raster, chunks={"y": 100}) as array:
        made = predict(array, models, tta="flips")
        assert 'precision=auto tta=flips"' in made.attrs["BUILDMAP"]
        plain = Prediction().backend
        np.testing.assert_array_equal(made, stored(raster, models, backend=replace(plain, tta="flips")))


def test_what_does_not_fit_is_told_before_anything_is_computed(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    with pytest.raises(InputError, match="roofs is float32, the model expects uint8") as caught:
        predict(counted.array.astype(np.float32), model)
    assert "masked=False" in str(caught.value.hint)
    with pytest.raises(InputError, match="2 bands chosen, the model expects 3"):
        predict(counted.array, model, bands=(1, 2))
    with pytest.raises(InputError, match="roofs has 3 bands, not band 4"):
        predict(counted.array, model, bands=(1, 2, 4))
    with pytest.raises(MissingInput, match=r"absent\.onnx does not exist"):
        predict(counted.array, tmp_path / "absent.onnx")
    with pytest.raises(ResourceError, match="2 devices"):
        predict(counted.array, model, device="cuda:0,1")
    with pytest.raises(TypeError, match="unexpected keyword argument 'treshold'"):
        predict(counted.array, model, treshold=0.3)  # type: ignore[call-arg]
    assert counted.computed() == []
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ResourceError, match="needs dask") as lacking:
        predict(counted.array, model)
    assert lacking.value.hint == "pip install 'buildmap[xarray]'"


def test_a_model_that_was_replaced_is_not_mixed_with_the_one_it_was(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    made = predict(Counted().array, path)
    before = made[:9].compute(scheduler="synchronous")
    write_onnx(path, make_card(fingerprint="1" * 16), kernel_px=3)
    np.testing.assert_array_equal(made[:9].compute(scheduler="synchronous"), before)
    assert "[1111" in predict(Counted().array, path).attrs["BUILDMAP"]
    buildmap.xarray._network.cache_clear()  # as in a process that has not loaded it yet
    with pytest.raises(MismatchError, match="is another model than when the DataArray was made"):
        made[:9].compute(scheduler="synchronous")


def test_one_strip_at_a_time_is_predicted_in_a_process(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most, started = 0, [], threading.Event()

    class Watched(buildmap.xarray.Segmenter):
        def strips(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            nonlocal busy
            busy += 1
            most.append(busy)
            started.wait(0.02)  # long enough for others to come
            yield from super().strips(*arguments, **options)
            busy -= 1

    made = predict(Counted().array, model)
    monkeypatch.setattr(buildmap.xarray, "Segmenter", Watched)
    made.compute(scheduler="threads", num_workers=4)
    assert most == [1] * 6
